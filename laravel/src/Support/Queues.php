<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Support;

use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Contracts\Queue\Factory;
use Throwable;

/** Tells queue connections that keep a job from those that lose it without a word. */
final class Queues
{
    /** Of the framework, as far as its version has them. */
    private const FORGETFUL = [
        'Illuminate\Queue\NullQueue' => 'drops every job',
        'Illuminate\Queue\DeferredQueue' => 'runs a job after the answer and keeps it nowhere',
        'Illuminate\Queue\BackgroundQueue' => 'runs a job after the answer and keeps it nowhere',
    ];

    public function __construct(private readonly Factory $queues, private readonly Config $config)
    {
    }

    public function name(?string $connection): ?string
    {
        // An empty line of .env means the default one, as in the framework.
        return $connection ?: $this->config->get('queue.default');
    }

    /** Why a job would be lost on this connection, null being the default one; null: it would not. */
    public function fault(?string $connection): ?string
    {
        $name = $this->name($connection);
        if ($name === null || $name === '') {
            return 'no queue is configured: config/queue.php is missing, or has no default';
        }
        try {
            $queue = $this->queues->connection($name);
        } catch (Throwable $failure) {
            return "the queue connection '$name' can't be used: {$failure->getMessage()}";
        }
        foreach (self::FORGETFUL as $class => $why) {
            if ($queue instanceof $class) {
                return "the queue connection '$name' $why";
            }
        }

        return $this->firstFault($name);
    }

    /** Of the connections that a `failover` falls back on: it may end on any. */
    private function firstFault(string $name): ?string
    {
        if ($this->config->get("queue.connections.$name.driver") !== 'failover') {
            return null;
        }
        foreach ((array) $this->config->get("queue.connections.$name.connections") as $other) {
            $fault = $other === $name ? null : $this->fault($other);
            if ($fault !== null) {
                return $fault;
            }
        }

        return null;
    }
}
