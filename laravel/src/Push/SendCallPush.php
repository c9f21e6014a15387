<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Push;

use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Contracts\Container\Container;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\Log;
use OnlyCare\Signaling\Calls\CallRows;
use OnlyCare\Signaling\Events\CallPushRequired;

/** Hands a push request to the application, unless the phone would not ring for it any more. */
final class SendCallPush
{
    public function __construct(
        private readonly Container $app,
        private readonly Config $config,
        private readonly CallRows $rows,
    ) {
    }

    public function handle(CallPushRequired $event): void
    {
        if (!$this->app->bound(SendsCallPush::class)) {
            return;
        }
        if ($this->isLate($event)) {
            Log::warning("call {$event->call->callId}: the push request came too late");

            return;
        }
        if ($this->isDecided($event->call->callId)) {
            return;
        }
        $this->app->make(SendsCallPush::class)->sendCallPush($event);
    }

    /** By its row. A push request waits for no other webhook: after the cancel, nothing would stop that ring. */
    private function isDecided(string $callId): bool
    {
        $row = $this->rows->find($callId);

        return $row !== null && $this->rows->kind($row) !== null;
    }

    private function isLate(CallPushRequired $event): bool
    {
        $now = Carbon::now()->getTimestampMs();
        $born = $event->call->createdAt ?? (int) $event->occurredAt->format('Uv');
        $oldest = (int) $this->config->get('websocket.push_max_age', 20) * 1000;

        return $now - $born > $oldest || ($event->call->expiresAt !== null && $now >= $event->call->expiresAt);
    }
}
