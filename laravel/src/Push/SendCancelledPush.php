<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Push;

use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Support\Carbon;
use OnlyCare\Signaling\EndReason;
use OnlyCare\Signaling\Events\CallCancelled;
use OnlyCare\Signaling\Events\CallMissed;

/**
 * Hands the end of a ring to the application, as long as a phone may ring for it. In a job of its own: a push that
 * fails holds up no listener that closes a row, and is tried again without them.
 */
final class SendCancelledPush implements ShouldQueue
{
    public int $tries = 5;

    public function __construct(private readonly Container $app, private readonly Config $config)
    {
    }

    public function shouldQueue(CallCancelled|CallMissed $event): bool
    {
        // A call that met a busy callee rang nowhere, and his phone may ring for another.
        return $event->call->reason !== EndReason::Busy
            && !$this->isLate($event)
            && $this->app->bound(SendsCancelledPush::class);
    }

    public function handle(CallCancelled|CallMissed $event): void
    {
        if (!$this->isLate($event)) {
            $this->app->make(SendsCancelledPush::class)->sendCancelledPush($event);
        }
    }

    /** Asked of an instance that was made without its constructor, like the queue. */
    public function viaConnection(): ?string
    {
        return config('websocket.webhook_connection') ?: null;
    }

    public function viaQueue(): ?string
    {
        return config('websocket.push_queue') ?: config('websocket.webhook_queue') ?: null;
    }

    /** @return list<int> seconds */
    public function backoff(): array
    {
        return [1, 2, 5];
    }

    private function isLate(CallCancelled|CallMissed $event): bool
    {
        $ended = $event->call->endedAt ?? (int) $event->occurredAt->format('Uv');

        return Carbon::now()->getTimestampMs() - $ended > (int) $this->config->get('websocket.push_max_age', 20) * 1000;
    }
}
