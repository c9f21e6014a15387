<?php

declare(strict_types=1);

namespace App\Http\Controllers;

use App\Models\Call;
use App\Models\User;
use App\Services\WebSocketService;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Http;
use Illuminate\Support\Str;
use Kreait\Firebase\Contract\Messaging;

final class CallController
{
    public function me(Request $request): JsonResponse
    {
        return response()->json(['success' => true, 'data' => $request->user()->only('id', 'name', 'gender')]);
    }

    public function online(string $user): JsonResponse
    {
        return response()->json(['online' => (new WebSocketService())->isUserOnline($user)]);
    }

    public function initiateCall(Request $request): JsonResponse
    {
        $caller = $request->user();
        $receiver = User::query()->findOrFail($request->input('receiver_id'));
        $balanceTime = '12:30';
        $call = Call::query()->create([
            'id' => 'CALL_' . random_int(1, PHP_INT_MAX),
            'caller_id' => $caller->id,
            'receiver_id' => $receiver->id,
            'call_type' => $request->input('call_type'),
            'status' => 'CONNECTING',
            'channel_name' => 'call_' . Str::random(12),
            'agora_token' => '006abc',
        ]);
        $this->sendPushNotification($receiver, $caller, $call->id, $call->call_type);

        return response()->json(['success' => true, 'data' => $call->toArray()]);
    }

    public function show(Call $call): JsonResponse
    {
        return response()->json(['success' => true, 'data' => $call->toArray()]);
    }

    public function acceptCall(Call $call): JsonResponse
    {
        $call->update(['status' => 'ONGOING']);
        $this->emit('call-accepted', [
            'callId' => $call->id,
            'callerId' => $call->caller_id,
            'receiverId' => $call->receiver_id,
        ]);

        return response()->json(['success' => true]);
    }

    public function rejectCall(Call $call): JsonResponse
    {
        $call->update(['status' => 'REJECTED']);

        return response()->json(['success' => true]);
    }

    public function cancelCall(Call $call): JsonResponse
    {
        if (!in_array($call->status, ['PENDING', 'CONNECTING'], true)) {
            return response()->json(['success' => false, 'error' => ['code' => 'INVALID_STATUS']], 400);
        }
        $call->update(['status' => 'CANCELLED']);
        $this->emit('call-cancelled', ['callId' => $call->id, 'receiverId' => $call->receiver_id]);

        return response()->json(['success' => true]);
    }

    public function endCall(Call $call): JsonResponse
    {
        $call->update(['status' => 'ENDED', 'ended_at' => now()]);

        return response()->json(['success' => true]);
    }

    private function emit(string $transition, array $body): void
    {
        Http::timeout(2)->withHeaders(['X-Internal-Secret' => config('websocket.secret')])
            ->post(config('websocket.url') . "/api/emit/$transition", $body);
    }

    private function sendPushNotification(User $receiver, User $caller, string $callId, string $callType): void
    {
        app(Messaging::class)->send([
            'token' => $receiver->fcm_token,
            'data' => ['type' => 'incoming_call', 'callId' => $callId, 'callerId' => $caller->id],
        ]);
    }
}
