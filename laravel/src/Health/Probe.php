<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Health;

use Illuminate\Contracts\Cache\Factory as Caches;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Support\Str;

/** How far a check got that other processes take part in: each leaves its mark in the cache. */
final class Probe
{
    public const ARRIVED = 'arrived';
    public const HANDLED = 'handled';

    private const CALL = 'CALL_signaling-check-';
    private const SECONDS = 600;

    public function __construct(private readonly Caches $caches)
    {
    }

    /** A call that nobody makes. Its webhooks are no events of the application's. */
    public static function callId(): string
    {
        return self::CALL . Str::lower(Str::random(20));
    }

    /** The call of a check that a webhook is about. */
    public static function in(array $data): ?string
    {
        $callId = $data['callId'] ?? null;

        return is_string($callId) && str_starts_with($callId, self::CALL) ? $callId : null;
    }

    /**
     * Before anybody is asked to leave a mark. Laravel's file cache takes an entry whose file was just created, and
     * is still empty, for one that has expired, and removes it: who looks for a mark while it is first written would
     * lose it.
     */
    public function expect(string $key, string ...$marks): void
    {
        foreach ($marks as $how) {
            $this->cache()->put($this->key($key, $how), 0, self::SECONDS);
        }
    }

    public function mark(string $key, string $how): void
    {
        $this->cache()->put($this->key($key, $how), 1, self::SECONDS);
    }

    public function has(string $key, string $how): bool
    {
        return (int) $this->cache()->get($this->key($key, $how)) === 1;
    }

    private function cache(): Cache
    {
        return $this->caches->store();
    }

    private function key(string $key, string $how): string
    {
        return "signaling:probe:$how:" . md5($key);
    }
}
