<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Health;

use Illuminate\Contracts\Config\Repository as Config;
use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\Exceptions\SignalingRefused;
use OnlyCare\Signaling\SignalingClient;

/** What Laravel can ask the signaling server. */
final class ServerChecks
{
    /** A push that is some seconds too old is not sent, see push_max_age. */
    private const CLOCK_SECONDS = 5;

    public function __construct(private readonly SignalingClient $client, private readonly Config $config)
    {
    }

    /** @return list<Check> the first of them fails where asking further is of no use */
    public function all(): array
    {
        if (!filter_var($this->config->get('websocket.enabled', true), FILTER_VALIDATE_BOOLEAN)) {
            return [Check::failed('server', 'signaling is switched off by WEBSOCKET_ENABLED')];
        }
        $url = (string) $this->config->get('websocket.url');
        $asked = microtime(true);
        try {
            $health = $this->client->get('/health');
        } catch (SignalingException $failure) {
            return [Check::failed('server', "signaling does not answer at $url: {$failure->getMessage()}")];
        }
        $now = ($asked + microtime(true)) / 2;

        return [$this->server($health, $url), $this->secret(), $this->clock($health, $now)];
    }

    /** @param array<string, mixed> $health */
    private function server(array $health, string $url): Check
    {
        if (($health['status'] ?? null) !== 'OK') {
            return Check::failed('server', "what answers at $url is no signaling server");
        }
        $counts = sprintf('%d users, %d calls', $health['connectedUsers'] ?? 0, $health['activeCalls'] ?? 0);
        if ($health['stale'] ?? false) {
            return Check::warning('server', "$url lost its Redis; last known: $counts");
        }

        return Check::ok('server', "$url, $counts");
    }

    /** Asked with a request that changes nothing. */
    private function secret(): Check
    {
        if ((string) $this->config->get('websocket.secret') === '') {
            return Check::failed('secret', 'WEBSOCKET_SECRET is not set');
        }
        try {
            $this->client->post('/api/emit/call-ended', ['callId' => '']);
        } catch (SignalingRefused $refused) {
            // 400: it was let in, and found the call's id missing.
            return $refused->status === 400
                ? Check::ok('secret', 'accepted')
                : Check::failed('secret', $refused->getMessage());
        } catch (SignalingException $failure) {
            return Check::failed('secret', $failure->getMessage());
        }

        return Check::failed('secret', 'the server took a request without a call');
    }

    /** @param array<string, mixed> $health */
    private function clock(array $health, float $now): Check
    {
        if (!is_int($health['timestamp'] ?? null)) {
            return Check::skipped('clock', 'the server does not tell its time');
        }
        $ahead = $health['timestamp'] / 1000 - $now;
        $differs = sprintf('%.1f s %s the server', abs($ahead), $ahead < 0 ? 'ahead of' : 'behind');
        if (abs($ahead) < self::CLOCK_SECONDS) {
            return Check::ok('clock', $differs);
        }
        $tolerance = (int) $this->config->get('websocket.webhook_tolerance', 300);

        return Check::failed('clock', "$differs: pushes are dropped as too old, webhooks refused from $tolerance s on");
    }
}
