<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Push;

use Illuminate\Support\Carbon;
use InvalidArgumentException;

/** The data message that silences a phone which rings by push. */
final class CallCancelledPush
{
    /**
     * The deployed app silences whatever rings: not to be sent while another call rings its user.
     *
     * @return array<string, string>
     *
     * @throws InvalidArgumentException where the app would drop the message
     */
    public static function data(string $callId, ?string $callerId = null, ?string $reason = null): array
    {
        if ($callId === '') {
            throw new InvalidArgumentException('a cancelled call without callId silences nothing');
        }

        return [
            'type' => 'call_cancelled',
            'callId' => $callId,
            'callerId' => $callerId ?? '',
            'reason' => $reason ?? '',
            'timestamp' => (string) Carbon::now()->getTimestampMs(),
        ];
    }

    /**
     * For FCM's `android` part: at once, and not kept until another call rings.
     *
     * @return array{priority: string, ttl: string}
     */
    public static function android(): array
    {
        return ['priority' => 'high', 'ttl' => '20s'];
    }
}
