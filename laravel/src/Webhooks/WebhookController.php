<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

use Closure;
use Illuminate\Contracts\Bus\Dispatcher as Bus;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Http\Request;
use OnlyCare\Signaling\Health\Heartbeat;
use OnlyCare\Signaling\Health\Probe;
use OnlyCare\Signaling\Support\Queues;
use OnlyCare\Signaling\Support\RareLog;
use Symfony\Component\HttpFoundation\Response;
use Throwable;

/** Takes a webhook and answers as soon as its job is stored; what it means is handled on the queue. */
final class WebhookController
{
    public function __construct(
        private readonly TakenIds $taken,
        private readonly Config $config,
        private readonly Bus $bus,
        private readonly Queues $queues,
        private readonly RareLog $log,
        private readonly Probe $probe,
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
        if (!HandleWebhook::knows($webhook['type']) || $this->isTaken($id)) {
            return response()->noContent();
        }
        $fault = $this->queues->fault($this->config->get('websocket.webhook_connection'));
        if ($fault !== null) {
            $this->log->error("webhooks are answered 503 and wait at signaling: $fault");

            return $this->later();
        }
        try {
            $this->store($id, $webhook);
        } catch (Throwable $failure) {
            report($failure);

            return $this->later();
        }
        // Only now: what is remembered is not taken again.
        $this->remember($id);

        return response()->noContent();
    }

    /** @param array<string, mixed> $webhook */
    private function store(string $id, array $webhook): void
    {
        $probe = Probe::in($webhook['data']);
        if ($probe !== null) {
            $this->probe->mark($probe, Probe::ARRIVED);
            $job = new Heartbeat($probe);
        } else {
            $at = $webhook['timestamp'] ?? null;
            $job = new HandleWebhook($id, $webhook['type'], is_string($at) ? $at : 'now', $webhook['data']);
        }
        $push = HandleWebhook::isPush($webhook['type']) ? $this->config->get('websocket.push_queue') : null;
        $job->onConnection($this->config->get('websocket.webhook_connection'));
        $job->onQueue($push ?: $this->config->get('websocket.webhook_queue'));
        $this->bus->dispatch($job);
    }

    private function later(): Response
    {
        return response()->json(['error' => 'The event could not be stored', 'code' => 'not_stored'], 503);
    }

    private function isTaken(string $id): bool
    {
        return $this->dedupes() && $this->guarded(fn (): bool => $this->taken->has($id));
    }

    private function remember(string $id): void
    {
        if ($this->dedupes()) {
            $this->guarded(fn (): bool => $this->taken->add($id));
        }
    }

    /** An event that is taken twice does less harm than one that is not taken. */
    private function guarded(Closure $use): bool
    {
        try {
            return $use();
        } catch (Throwable $failure) {
            $this->log->error('webhooks are taken as often as they come, the cache fails', ['exception' => $failure]);

            return false;
        }
    }

    private function dedupes(): bool
    {
        return filter_var($this->config->get('websocket.webhook_dedupe', false), FILTER_VALIDATE_BOOLEAN);
    }
}
