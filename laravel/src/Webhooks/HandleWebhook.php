<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

use DateTimeImmutable;
use DateTimeInterface;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Support\Carbon;
use OnlyCare\Signaling\CallSnapshot;
use OnlyCare\Signaling\Events;
use OnlyCare\Signaling\Events\SignalingEvent;
use Throwable;

/** Fires the Laravel event that a webhook stands for. */
final class HandleWebhook implements ShouldQueue
{
    use InteractsWithQueue;
    use Queueable;

    public const CALL_EVENTS = [
        'call.initiated' => Events\CallInitiated::class,
        'call.push_required' => Events\CallPushRequired::class,
        'call.ringing' => Events\CallRinging::class,
        'call.accepted' => Events\CallAccepted::class,
        'call.rejected' => Events\CallRejected::class,
        'call.cancelled' => Events\CallCancelled::class,
        'call.missed' => Events\CallMissed::class,
        'call.ended' => Events\CallEnded::class,
        'call.verify' => Events\CallVerify::class,
    ];
    public const USER_EVENTS = [
        'user.online' => Events\UserOnline::class,
        'user.offline' => Events\UserOffline::class,
    ];

    public int $tries = 5;

    /** @param array<string, mixed> $data */
    public function __construct(
        private string $webhookId,
        private string $type,
        private string $timestamp,
        private array $data,
    ) {
    }

    public static function knows(string $type): bool
    {
        return isset(self::CALL_EVENTS[$type]) || isset(self::USER_EVENTS[$type]);
    }

    public function isPush(): bool
    {
        return $this->type === 'call.push_required';
    }

    public function handle(Dispatcher $events): void
    {
        $events->dispatch($this->event());
    }

    /** @return list<int> seconds */
    public function backoff(): array
    {
        return $this->isPush() ? [1, 2, 5] : [1, 10, 60, 300];
    }

    /** A push is of no use after the ring; the rest is bounded by its tries. */
    public function retryUntil(): ?DateTimeInterface
    {
        $expiresAt = CallSnapshot::fromFields($this->data)->expiresAt;

        return $this->isPush() && $expiresAt !== null ? Carbon::createFromTimestampMs($expiresAt) : null;
    }

    private function event(): SignalingEvent
    {
        $user = self::USER_EVENTS[$this->type] ?? null;
        if ($user !== null) {
            return new $user($this->webhookId, $this->occurredAt(), (string) ($this->data['userId'] ?? ''));
        }
        $call = self::CALL_EVENTS[$this->type];

        return new $call($this->webhookId, $this->occurredAt(), CallSnapshot::fromFields($this->data));
    }

    private function occurredAt(): DateTimeImmutable
    {
        try {
            return new DateTimeImmutable($this->timestamp);
        } catch (Throwable) {
            return new DateTimeImmutable();
        }
    }
}
