<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Health;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Queue\InteractsWithQueue;

/** Shows that a worker takes jobs from its queue. */
final class Heartbeat implements ShouldQueue
{
    use InteractsWithQueue;
    use Queueable;

    public int $tries = 1;

    public function __construct(private string $key)
    {
    }

    public function handle(Probe $probe): void
    {
        $probe->mark($this->key, Probe::HANDLED);
    }

    public function displayName(): string
    {
        return 'signaling heartbeat';
    }

    /** @return list<string> */
    public function tags(): array
    {
        return ['signaling'];
    }
}
