<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

use Illuminate\Contracts\Cache\Factory as Caches;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Support\Carbon;

/**
 * The ids of the webhooks that were taken. Laravel's file and database caches keep what has expired until it is asked
 * for again, which no id is: there they share entries, of which there are 4096 and no more.
 */
final class TakenIds
{
    /** Longer than signaling tries to deliver an event. */
    private const SECONDS = 7 * 86400;

    private const KEEP_WHAT_EXPIRED = ['Illuminate\Cache\FileStore', 'Illuminate\Cache\DatabaseStore'];

    public function __construct(private readonly Caches $caches, private readonly Config $config)
    {
    }

    public function has(string $id): bool
    {
        $cache = $this->cache();

        return $this->shares($cache) ? isset($this->beside($cache, $id)[$id]) : $cache->has($this->key($id));
    }

    /** Two at the same moment may lose one of a shared entry: that one is taken twice, if it comes twice. */
    public function add(string $id): bool
    {
        $cache = $this->cache();
        if (!$this->shares($cache)) {
            return $cache->put($this->key($id), 1, self::SECONDS);
        }

        $taken = [$id => Carbon::now()->getTimestamp()] + $this->beside($cache, $id);

        return $cache->put($this->shared($id), $taken, self::SECONDS);
    }

    /** @return array<array-key, int> when those were taken that share this one's entry */
    private function beside(Cache $cache, string $id): array
    {
        $oldest = Carbon::now()->getTimestamp() - self::SECONDS;

        return array_filter((array) $cache->get($this->shared($id)), static fn (int $at): bool => $at > $oldest);
    }

    private function shares(Cache $cache): bool
    {
        return in_array(get_class($cache->getStore()), self::KEEP_WHAT_EXPIRED, true);
    }

    private function cache(): Cache
    {
        return $this->caches->store($this->config->get('websocket.webhook_dedupe_store'));
    }

    private function key(string $id): string
    {
        return 'signaling:webhook:' . hash('sha256', $id);
    }

    private function shared(string $id): string
    {
        return 'signaling:webhooks:' . substr(hash('sha256', $id), 0, 3);
    }
}
