<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\DB;

/** The REST twins of a phone's events, with the deployed backend's guards or lack of them. Tells signaling nothing. */
final class CallController
{
    public function show(string $call): JsonResponse
    {
        $row = $this->find($call);

        return $row === null ? $this->notFound() : response()->json(['success' => true, 'data' => $row->toArray()]);
    }

    public function accept(Request $request, string $call): JsonResponse
    {
        return $this->change($request, $call, 'receiver_id', 'ONGOING');
    }

    public function reject(Request $request, string $call): JsonResponse
    {
        return $this->change($request, $call, 'receiver_id', 'REJECTED');
    }

    public function cancel(Request $request, string $call): JsonResponse
    {
        $row = $this->find($call);
        if ($row !== null && !in_array($row->status, ['PENDING', 'CONNECTING'], true)) {
            return $this->refuse(400, 'INVALID_STATUS');
        }

        return $this->change($request, $call, 'caller_id', 'CANCELLED');
    }

    public function end(Request $request, string $call): JsonResponse
    {
        $row = $this->find($call);
        if ($row === null) {
            return $this->notFound();
        }
        if ($row->status !== 'ENDED') {
            $duration = (int) $request->input('duration');
            DB::transaction(fn () => $row->update(['status' => 'ENDED', 'duration' => $duration]));
        }

        return response()->json(['success' => true]);
    }

    public function notifyCancelled(Request $request): JsonResponse
    {
        if ($request->header('X-Internal-Secret') !== config('websocket.secret')) {
            return $this->refuse(401, 'UNAUTHORIZED');
        }
        $callId = (string) $request->input('callId');
        DB::table('events')->insert(['type' => 'notify-cancelled', 'webhook_id' => '', 'subject' => $callId]);

        return response()->json(['success' => true]);
    }

    private function change(Request $request, string $call, string $party, string $status): JsonResponse
    {
        $row = $this->find($call);
        if ($row === null) {
            return $this->notFound();
        }
        if ($row->{$party} !== $request->user()->id) {
            return $this->refuse(403, 'FORBIDDEN');
        }
        DB::transaction(fn () => $row->update(['status' => $status]));

        return response()->json(['success' => true]);
    }

    private function find(string $call): ?Call
    {
        return Call::query()->find(str_starts_with($call, 'CALL_') ? $call : "CALL_$call");
    }

    private function notFound(): JsonResponse
    {
        return $this->refuse(404, 'NOT_FOUND');
    }

    private function refuse(int $status, string $code): JsonResponse
    {
        return response()->json(['success' => false, 'error' => ['code' => $code, 'message' => $code]], $status);
    }
}
