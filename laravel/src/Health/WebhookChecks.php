<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Health;

use Illuminate\Contracts\Bus\Dispatcher as Bus;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Contracts\Queue\Factory as QueueFactory;
use Illuminate\Routing\Router;
use InvalidArgumentException;
use OnlyCare\Signaling\Calls\CallRows;
use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\Support\Queues;
use OnlyCare\Signaling\Webhooks\WebhookSignature;
use OnlyCare\Signaling\WebSocketService;
use Throwable;

/** Whether what signaling tells would be taken, kept and handled. */
final class WebhookChecks
{
    public function __construct(
        private readonly Config $config,
        private readonly Queues $queues,
        private readonly QueueFactory $connections,
        private readonly Router $router,
        private readonly Bus $bus,
        private readonly Probe $probe,
        private readonly CallRows $rows,
        private readonly WebSocketService $signaling,
    ) {
    }

    public function observer(): Check
    {
        $fault = $this->rows->fault();
        $model = $this->rows->model();

        return match (true) {
            $fault !== null => Check::failed('observer', $fault),
            $model === null => Check::skipped('observer', 'off: WEBSOCKET_CALL_MODEL is not set'),
            default => Check::ok('observer', $model),
        };
    }

    /** Null: webhooks are off, there is nothing to check. */
    public function route(): ?Check
    {
        if ((string) $this->config->get('websocket.webhook_secret') === '') {
            return null;
        }
        try {
            WebhookSignature::fromConfig($this->config);
        } catch (InvalidArgumentException $unusable) {
            return Check::failed('route', "WEBSOCKET_WEBHOOK_SECRET: {$unusable->getMessage()}");
        }
        $routes = $this->router->getRoutes();
        $routes->refreshNameLookups();
        $route = $routes->getByName('signaling.webhook');
        if ($route === null) {
            return Check::failed('route', 'there is none: run php artisan route:cache again');
        }
        foreach ($this->router->gatherRouteMiddleware($route) as $middleware) {
            if (is_string($middleware) && preg_match('/Csrf|RequestForgery|ThrottleRequests/', $middleware) === 1) {
                return Check::failed('route', class_basename($middleware) . ' would hold webhooks back');
            }
        }

        return Check::ok('route', 'POST /' . ltrim($route->uri(), '/'));
    }

    public function queue(): Check
    {
        $connection = $this->config->get('websocket.webhook_connection');
        $name = $this->queues->name($connection);
        $fault = $this->queues->fault($connection);
        if ($fault !== null) {
            return Check::failed('queue', $fault);
        }
        try {
            $waiting = $this->connections->connection($name)->size($this->config->get('websocket.webhook_queue'));
        } catch (Throwable $failure) {
            return Check::failed('queue', "'$name' does not answer: {$failure->getMessage()}");
        }
        if ($this->config->get("queue.connections.$name.driver") === 'sync') {
            return Check::warning('queue', "'$name' handles a webhook while signaling waits: use one with a worker");
        }

        return Check::ok('queue', "'$name', $waiting waiting");
    }

    /** A job through each queue that webhooks use. */
    public function worker(int $seconds): Check
    {
        $key = Probe::callId();
        $queues = array_unique([
            $this->config->get('websocket.webhook_queue'),
            $this->config->get('websocket.push_queue') ?: $this->config->get('websocket.webhook_queue'),
        ]);
        foreach ($queues as $queue) {
            $started = microtime(true);
            try {
                $this->probe->expect("$key/$queue", Probe::HANDLED);
                $this->bus->dispatch((new Heartbeat("$key/$queue"))
                    ->onConnection($this->config->get('websocket.webhook_connection'))
                    ->onQueue($queue));
            } catch (Throwable $failure) {
                return Check::failed('worker', "no job can be queued: {$failure->getMessage()}");
            }
            if (!$this->waited(fn () => $this->probe->has("$key/$queue", Probe::HANDLED), $seconds)) {
                $named = $queue ?? 'default';

                return Check::failed('worker', "none took a job from '$named' in $seconds s: run queue:work");
            }
            $took = sprintf('took a job after %.1f s', microtime(true) - $started);
        }

        return Check::ok('worker', $took);
    }

    /** Has signaling reject a call that nobody made, and waits for what it says of that. */
    public function roundTrip(int $seconds): Check
    {
        $call = Probe::callId();
        $started = microtime(true);
        $this->probe->expect($call, Probe::ARRIVED, Probe::HANDLED);
        try {
            $this->signaling->callRejected($call, 'signaling-check-1', 'signaling-check-2');
        } catch (SignalingException $failure) {
            return Check::failed('webhooks', $failure->getMessage());
        }
        if ($this->waited(fn () => $this->probe->has($call, Probe::HANDLED), $seconds)) {
            return Check::ok('webhooks', sprintf('came back after %.1f s', microtime(true) - $started));
        }
        $where = $this->probe->has($call, Probe::ARRIVED)
            ? 'it came, and no worker handled it'
            : "none came: see Laravel's log, and WEBHOOK_URL and WEBHOOK_SECRET of the server";

        return Check::failed('webhooks', "waited $seconds s: $where");
    }

    /** @param callable(): bool $done */
    private function waited(callable $done, int $seconds): bool
    {
        $until = microtime(true) + $seconds;
        while (!$done()) {
            if (microtime(true) > $until) {
                return false;
            }
            usleep(50_000);
        }

        return true;
    }
}
