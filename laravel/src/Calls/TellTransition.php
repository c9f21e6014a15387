<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Calls;

use DateTimeInterface;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\Log;
use OnlyCare\Signaling\WebSocketService;
use Throwable;

/** Tells again what could not be told at once, as long as it is still true and of use. */
final class TellTransition implements ShouldQueue
{
    use InteractsWithQueue;
    use Queueable;

    private const USEFUL_SECONDS = 30;

    private int $until;

    public function __construct(private CallTransition $transition)
    {
        $this->until = Carbon::now()->getTimestamp() + self::USEFUL_SECONDS;
    }

    public function handle(WebSocketService $signaling, CallRows $rows): void
    {
        $row = $rows->find($this->transition->callId);
        // A late accept of a call that has ended since would leave both parties busy.
        if ($row === null || $rows->kind($row) !== $this->transition->kind) {
            return;
        }
        $this->transition->tell($signaling);
    }

    public function retryUntil(): DateTimeInterface
    {
        return Carbon::createFromTimestamp($this->until);
    }

    public function displayName(): string
    {
        return "signaling {$this->transition->name()}";
    }

    /** @return list<string> what Horizon finds it by */
    public function tags(): array
    {
        return ['signaling', "call:{$this->transition->callId}"];
    }

    public function failed(?Throwable $failure): void
    {
        $why = $failure?->getMessage() ?? 'no reason given';
        Log::error("{$this->transition->name()} was never told: $why");
    }

    /** @return list<int> seconds */
    public function backoff(): array
    {
        return [1, 2, 5, 10];
    }
}
