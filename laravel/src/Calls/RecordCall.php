<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Calls;

use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Support\Carbon;
use OnlyCare\Signaling\CallSnapshot;
use OnlyCare\Signaling\Events\CallAccepted;
use OnlyCare\Signaling\Events\CallCancelled;
use OnlyCare\Signaling\Events\CallEnded;
use OnlyCare\Signaling\Events\CallEvent;
use OnlyCare\Signaling\Events\CallMissed;
use OnlyCare\Signaling\Events\CallRejected;

/**
 * Keeps a row for each call in `websocket.calls_table`. Each event carries all that is known of its call, so the row is
 * that of the highest `seq`, in whatever order and however often they come. In a job of its own: with any queue
 * but `sync` a table that is missing holds up no listener of the application.
 */
final class RecordCall implements ShouldQueue
{
    public const EVENTS = [
        CallAccepted::class,
        CallRejected::class,
        CallCancelled::class,
        CallMissed::class,
        CallEnded::class,
    ];

    /** For a day, like the webhook: signaling does not send it again. */
    public int $tries = 100;

    public function shouldQueue(CallEvent $event): bool
    {
        return (bool) config('websocket.calls_table');
    }

    /** Two statements, each of which is right beside a second worker. */
    public function handle(CallEvent $event): void
    {
        $call = $event->call;
        $key = ['call_id' => $call->callId, 'began_at_ms' => $call->createdAt ?? 0];
        $values = $this->values($call);
        if (RecordedCall::query()->toBase()->insertOrIgnore($key + $values) === 0) {
            RecordedCall::query()->toBase()->where($key)->where('seq', '<', $call->seq)->update($values);
        }
    }

    public function viaConnection(): ?string
    {
        return config('websocket.webhook_connection') ?: null;
    }

    public function viaQueue(): ?string
    {
        return config('websocket.webhook_queue') ?: null;
    }

    /** @return list<int> seconds */
    public function backoff(): array
    {
        return [1, 10, 60, 300, 900];
    }

    /** @return array<string, int|string|null> */
    private function values(CallSnapshot $call): array
    {
        return [
            'seq' => $call->seq,
            'caller_id' => $call->callerId,
            'receiver_id' => $call->receiverId,
            'call_type' => $call->callType,
            'accepted_at' => $this->time($call->acceptedAt),
            'ended_at' => $this->time($call->endedAt),
            'duration_seconds' => $this->seconds($call->durationMs),
            'talk_seconds' => $this->seconds($call->talkMs),
            'reason' => $call->reason?->value,
        ];
    }

    private function time(?int $milliseconds): ?string
    {
        return $milliseconds === null ? null : Carbon::createFromTimestampMs($milliseconds)
            ->setTimezone(date_default_timezone_get())
            ->format('Y-m-d H:i:s');
    }

    private function seconds(?int $milliseconds): ?int
    {
        return $milliseconds === null ? null : intdiv($milliseconds, 1000);
    }
}
