<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

use Illuminate\Contracts\Bus\Dispatcher as Bus;
use Illuminate\Contracts\Cache\Factory as Caches;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\Response;
use Throwable;

/** Takes a webhook and answers at once; what it means is handled on the queue. */
final class WebhookController
{
    /** Longer than signaling tries to deliver an event. */
    private const DEDUPE_SECONDS = 7 * 86400;

    public function __construct(
        private readonly Caches $caches,
        private readonly Config $config,
        private readonly Bus $bus,
    ) {
    }

    public function __invoke(Request $request): Response
    {
        $webhook = json_decode($request->getContent(), true);
        if (!is_array($webhook) || !is_string($webhook['type'] ?? null) || !is_array($webhook['data'] ?? null)) {
            return response()->json(['error' => 'no event', 'code' => 'invalid_payload'], 400);
        }
        $id = (string) $request->header('webhook-id');
        // An event of a newer server than this package is taken, and dropped: to refuse it would only bring it again.
        if (HandleWebhook::knows($webhook['type']) && $this->isFirst($id)) {
            try {
                $this->queue($id, $webhook);
            } catch (Throwable $failure) {
                $this->forget($id);
                throw $failure;
            }
        }

        return response()->noContent();
    }

    /** @param array<string, mixed> $webhook */
    private function queue(string $id, array $webhook): void
    {
        $at = $webhook['timestamp'] ?? null;
        $job = new HandleWebhook($id, $webhook['type'], is_string($at) ? $at : 'now', $webhook['data']);
        $queue = $job->isPush() ? $this->config->get('websocket.push_queue') : null;
        $job->onConnection($this->config->get('websocket.webhook_connection'));
        $job->onQueue($queue ?? $this->config->get('websocket.webhook_queue'));
        $this->bus->dispatch($job);
    }

    private function isFirst(string $id): bool
    {
        return !$this->dedupes() || $this->cache()->add($this->key($id), 1, self::DEDUPE_SECONDS);
    }

    private function forget(string $id): void
    {
        if ($this->dedupes()) {
            $this->cache()->forget($this->key($id));
        }
    }

    private function dedupes(): bool
    {
        return filter_var($this->config->get('websocket.webhook_dedupe', false), FILTER_VALIDATE_BOOLEAN);
    }

    private function cache(): Cache
    {
        return $this->caches->store($this->config->get('websocket.webhook_dedupe_store'));
    }

    private function key(string $id): string
    {
        return 'signaling:webhook:' . hash('sha256', $id);
    }
}
