<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Console;

use Illuminate\Console\Command;
use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\Exceptions\SignalingRefused;
use OnlyCare\Signaling\WebSocketService;

final class HealthCommand extends Command
{
    protected $signature = 'signaling:health';

    protected $description = 'Ask the signaling server how it is, and whether it knows our secret';

    public function handle(WebSocketService $signaling): int
    {
        if (!filter_var(config('websocket.enabled'), FILTER_VALIDATE_BOOLEAN)) {
            $this->error('signaling is switched off by WEBSOCKET_ENABLED');

            return self::FAILURE;
        }
        $health = $signaling->getHealthStatus();
        if ($health === null) {
            $this->error('signaling does not answer at ' . config('websocket.url'));

            return self::FAILURE;
        }
        foreach ($health as $name => $value) {
            $this->line(sprintf('%-16s %s', $name, is_scalar($value) ? json_encode($value) : ''));
        }
        $fault = $this->fault($signaling);
        $this->line(sprintf('%-16s %s', 'secret', $fault ?? 'accepted'));

        return $fault === null && ($health['status'] ?? '') === 'OK' ? self::SUCCESS : self::FAILURE;
    }

    /** What is wrong with the secret, asked with a request that changes nothing. */
    private function fault(WebSocketService $signaling): ?string
    {
        try {
            $signaling->callEnded('');
        } catch (SignalingRefused $refused) {
            // 400: it was let in, and found the call's id missing.
            return $refused->status === 400 ? null : $refused->getMessage();
        } catch (SignalingException $failure) {
            return $failure->getMessage();
        }

        return null;
    }
}
