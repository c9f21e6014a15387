<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Push;

use Illuminate\Support\Carbon;
use InvalidArgumentException;

/** The data message that makes the deployed app ring. */
final class IncomingCallPush
{
    /**
     * Texts only, as FCM wants them, and no notification part: it would keep the app's own ring screen from showing.
     *
     * @return array<string, string>
     *
     * @throws InvalidArgumentException where the app would drop the message
     */
    public static function data(
        string $callId,
        string $callerId,
        ?string $callerName,
        ?string $callerPhoto,
        string $channelName,
        string $callType,
        ?string $agoraToken = null,
        ?string $agoraAppId = null,
        ?string $balanceTime = null,
    ): array {
        $data = [
            'type' => 'incoming_call',
            'callId' => $callId,
            'callerId' => $callerId,
            'callerName' => $callerName === null || $callerName === '' ? 'Unknown' : $callerName,
            'callerPhoto' => $callerPhoto ?? '',
            'channelId' => $channelName,
            'agoraToken' => $agoraToken ?? '',
            'agoraAppId' => $agoraAppId ?? '',
            'callType' => strtoupper($callType),
            'balanceTime' => $balanceTime ?? '',
            // Of sending: the app ignores what is older than 20 s.
            'timestamp' => (string) Carbon::now()->getTimestampMs(),
        ];
        foreach (['callId', 'callerId', 'channelId', 'callType'] as $required) {
            if ($data[$required] === '') {
                throw new InvalidArgumentException("an incoming call without $required does not ring");
            }
        }

        return $data;
    }

    /**
     * For FCM's `android` part: at once, and not kept for a phone that is switched on later.
     *
     * @return array{priority: string, ttl: string}
     */
    public static function android(?int $expiresAt = null): array
    {
        $left = $expiresAt === null ? 20 : intdiv($expiresAt - Carbon::now()->getTimestampMs(), 1000);

        return ['priority' => 'high', 'ttl' => max(0, min(20, $left)) . 's'];
    }
}
