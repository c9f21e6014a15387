<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Push;

use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Contracts\Container\Container;
use Illuminate\Support\Carbon;
use OnlyCare\Signaling\EndReason;
use OnlyCare\Signaling\Events\CallCancelled;
use OnlyCare\Signaling\Events\CallMissed;

/** Hands the end of a ring to the application, as long as a phone may ring for it. */
final class SendCancelledPush
{
    public function __construct(private readonly Container $app, private readonly Config $config)
    {
    }

    public function handle(CallCancelled|CallMissed $event): void
    {
        // A call that met a busy callee rang nowhere, and his phone may ring for another.
        if ($event->call->reason === EndReason::Busy || $this->isLate($event)) {
            return;
        }
        if ($this->app->bound(SendsCancelledPush::class)) {
            $this->app->make(SendsCancelledPush::class)->sendCancelledPush($event);
        }
    }

    private function isLate(CallCancelled|CallMissed $event): bool
    {
        $ended = $event->call->endedAt ?? (int) $event->occurredAt->format('Uv');

        return Carbon::now()->getTimestampMs() - $ended > (int) $this->config->get('websocket.push_max_age', 20) * 1000;
    }
}
