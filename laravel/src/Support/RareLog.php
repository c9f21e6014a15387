<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Support;

use Illuminate\Contracts\Cache\Factory as Caches;
use Psr\Log\LoggerInterface as Log;
use Throwable;

/** Log lines for what may happen with every request: each at most once a minute. */
final class RareLog
{
    private const SECONDS = 60;

    public function __construct(private readonly Log $log, private readonly Caches $caches)
    {
    }

    /**
     * @param string               $message one of a closed set: what varies goes into the context
     * @param array<string, mixed> $context
     *
     * @return bool whether it was written
     */
    public function warning(string $message, array $context = []): bool
    {
        return $this->write('warning', $message, $context);
    }

    /** @param array<string, mixed> $context */
    public function error(string $message, array $context = []): bool
    {
        return $this->write('error', $message, $context);
    }

    /** @param array<string, mixed> $context */
    private function write(string $level, string $message, array $context): bool
    {
        try {
            $due = $this->caches->store()->add('signaling:logged:' . md5($message), 1, self::SECONDS);
        } catch (Throwable) {
            $due = true;
        }
        if ($due) {
            $this->log->log($level, $message, $context);
        }

        return $due;
    }
}
