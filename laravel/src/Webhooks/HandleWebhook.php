<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

use DateTimeImmutable;
use DateTimeInterface;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\Jobs\SyncJob;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\Log;
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
        'call.upgraded' => Events\CallUpgraded::class,
        'call.downgraded' => Events\CallDowngraded::class,
        'call.verify' => Events\CallVerify::class,
    ];
    public const USER_EVENTS = [
        'user.online' => Events\UserOnline::class,
        'user.offline' => Events\UserOffline::class,
    ];

    /**
     * What a call came to, and when its rate changed. Signaling was told that it is stored and does not send it again:
     * it is tried for a day, the others for minutes.
     */
    private const RECORDS = [
        'call.accepted',
        'call.upgraded',
        'call.downgraded',
        'call.rejected',
        'call.cancelled',
        'call.missed',
        'call.ended',
    ];

    public int $tries;

    /** @param array<string, mixed> $data */
    public function __construct(
        private string $webhookId,
        private string $type,
        private string $timestamp,
        private array $data,
    ) {
        $this->tries = $this->isRecord() ? 100 : 5;
    }

    public static function knows(string $type): bool
    {
        return isset(self::CALL_EVENTS[$type]) || isset(self::USER_EVENTS[$type]);
    }

    /** Whether it wakes a phone, or silences it: such an event is worth nothing a minute later. */
    public static function isPush(string $type): bool
    {
        return in_array($type, ['call.push_required', 'call.cancelled', 'call.missed'], true);
    }

    public function handle(Dispatcher $events): void
    {
        $events->dispatch($this->event());
    }

    /** @return list<int> seconds */
    public function backoff(): array
    {
        return match (true) {
            $this->type === 'call.push_required' => [1, 2, 5],
            // The last one again and again; SQS takes no longer one.
            $this->isRecord() => [1, 10, 60, 300, 900],
            default => [1, 10, 60, 300],
        };
    }

    /** A push is of no use after the ring; the rest is bounded by its tries. */
    public function retryUntil(): ?DateTimeInterface
    {
        $expiresAt = CallSnapshot::fromFields($this->data)->expiresAt;

        return $this->type === 'call.push_required' && $expiresAt !== null
            ? Carbon::createFromTimestampMs($expiresAt)
            : null;
    }

    public function displayName(): string
    {
        return "signaling {$this->type}";
    }

    /** @return list<string> what Horizon finds it by */
    public function tags(): array
    {
        return ['signaling', $this->type, $this->subject()];
    }

    /** Signaling was told that it is stored, and does not send it again. On the `sync` queue it was not told. */
    public function failed(?Throwable $failure): void
    {
        if (!$this->job instanceof SyncJob) {
            Log::error("the webhook {$this->type} is given up", [
                'webhook_id' => $this->webhookId,
                'subject' => $this->subject(),
                'exception' => $failure,
            ]);
        }
    }

    private function isRecord(): bool
    {
        return in_array($this->type, self::RECORDS, true);
    }

    private function subject(): string
    {
        [$kind, $field] = isset(self::USER_EVENTS[$this->type]) ? ['user', 'userId'] : ['call', 'callId'];
        $id = $this->data[$field] ?? '';

        return $kind . ':' . (is_scalar($id) ? $id : '');
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
