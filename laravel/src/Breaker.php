<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

use Closure;
use Illuminate\Contracts\Cache\Factory;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Contracts\Config\Repository as Config;
use Throwable;

/** Keeps a dead signaling server from costing every request its timeout. Shared by all processes through the cache. */
final class Breaker
{
    private const FAILURES = 3;
    private const MEMORY_SECONDS = 60;

    private int $failures = 0;

    public function __construct(private readonly Factory $caches, private readonly Config $config)
    {
    }

    /** Whether a request may be tried: always, or once per pause while the server is known to be down. */
    public function allows(): bool
    {
        if ($this->pause() === 0) {
            return true;
        }

        return $this->guarded(function (Cache $cache): bool {
            $this->failures = (int) $cache->get($this->key('failures'), 0);

            return $this->failures < self::FAILURES || $cache->add($this->key('probe'), 1, $this->pause());
        }, true);
    }

    public function succeeded(): void
    {
        if ($this->failures === 0) {
            return;
        }
        $this->failures = 0;
        $this->guarded(function (Cache $cache): bool {
            $cache->forget($this->key('probe'));

            return $cache->forget($this->key('failures'));
        }, false);
    }

    public function failed(): void
    {
        if ($this->pause() === 0) {
            return;
        }
        $this->guarded(function (Cache $cache): bool {
            $cache->add($this->key('failures'), 0, self::MEMORY_SECONDS);
            $this->failures = (int) $cache->increment($this->key('failures'));

            return $this->failures >= self::FAILURES && $cache->put($this->key('probe'), 1, $this->pause());
        }, false);
    }

    /** A cache that fails must not take signaling along. */
    private function guarded(Closure $use, bool $otherwise): bool
    {
        try {
            return $use($this->caches->store($this->config->get('websocket.breaker_store')));
        } catch (Throwable) {
            return $otherwise;
        }
    }

    private function pause(): int
    {
        return (int) $this->config->get('websocket.breaker_seconds', 5);
    }

    private function key(string $name): string
    {
        return 'signaling:' . $name . ':' . md5((string) $this->config->get('websocket.url'));
    }
}
