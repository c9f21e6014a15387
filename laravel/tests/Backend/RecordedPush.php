<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Support\Facades\DB;
use OnlyCare\Signaling\Events\CallCancelled;
use OnlyCare\Signaling\Events\CallMissed;
use OnlyCare\Signaling\Events\CallPushRequired;
use OnlyCare\Signaling\Push\CallCancelledPush;
use OnlyCare\Signaling\Push\IncomingCallPush;
use OnlyCare\Signaling\Push\SendsCallPush;
use OnlyCare\Signaling\Push\SendsCancelledPush;

/** As the guide shows it, with a table in the place of FCM. */
final class RecordedPush implements SendsCallPush, SendsCancelledPush
{
    public function sendCancelledPush(CallCancelled|CallMissed $event): void
    {
        $call = Call::query()->find($event->call->callId);
        $callee = $call === null ? null : User::query()->find($call->receiver_id);
        if ($callee === null) {
            return;
        }
        $data = CallCancelledPush::data($call->id, $call->caller_id, $event->call->reason?->value);
        DB::table('pushes')->insert([
            'call_id' => $call->id,
            'token' => $callee->fcm_token,
            'data' => json_encode($data, JSON_THROW_ON_ERROR),
            'android' => json_encode(CallCancelledPush::android(), JSON_THROW_ON_ERROR),
        ]);
    }

    public function sendCallPush(CallPushRequired $event): void
    {
        $call = Call::query()->findOrFail($event->call->callId);
        $caller = User::query()->findOrFail($call->caller_id);
        $callee = User::query()->findOrFail($call->receiver_id);
        DB::table('pushes')->insert([
            'call_id' => $call->id,
            'token' => $callee->fcm_token,
            'data' => json_encode(IncomingCallPush::data(
                callId: $call->id,
                callerId: $caller->id,
                callerName: $caller->name,
                callerPhoto: $caller->profile_image,
                channelName: $call->channel_name,
                callType: $call->call_type,
                agoraToken: $call->agora_token,
                agoraAppId: 'app',
                balanceTime: '12:30',
            ), JSON_THROW_ON_ERROR),
            'android' => json_encode(IncomingCallPush::android($event->call->expiresAt), JSON_THROW_ON_ERROR),
        ]);
    }
}
