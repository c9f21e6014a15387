<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Testing;

use OnlyCare\Signaling\Exceptions\SignalingRefused;
use OnlyCare\Signaling\Exceptions\SignalingUnavailable;
use OnlyCare\Signaling\SignalingClient;

/** A server that takes everything and rings everybody, unless it was told otherwise. */
final class FakeClient extends SignalingClient
{
    /** @var list<array{path: string, body: array<string, mixed>}> what would change something there */
    public array $sent = [];

    /** @var list<string> */
    public array $online = [];

    /** @var array<string, mixed> */
    public array $ring = ['success' => true];

    /** @var array<string, array<string, mixed>> by id */
    public array $calls = [];

    public bool $down = false;

    public function __construct()
    {
    }

    public function get(string $path): array
    {
        $this->answer();
        if (preg_match('~^/api/users/(.+)/online$~', $path, $match) === 1) {
            return ['isOnline' => in_array(rawurldecode($match[1]), $this->online, true)];
        }
        if (preg_match('~^/api/calls/(.+)$~', $path, $match) === 1) {
            return $this->calls[rawurldecode($match[1])]
                ?? throw new SignalingRefused('Call not found', 404, 'call_not_found');
        }

        return $path === '/health'
            ? ['status' => 'OK', 'connectedUsers' => count($this->online), 'activeCalls' => count($this->calls)]
            : ['count' => count($this->online), 'users' => $this->online];
    }

    public function post(string $path, array $body): array
    {
        $this->answer();
        if ($path === '/api/users/online') {
            $users = (array) ($body['userIds'] ?? []);

            return ['users' => array_map(fn () => false, array_flip(array_diff($users, $this->online)))
                + array_map(fn () => true, array_flip(array_intersect($users, $this->online)))];
        }
        $this->sent[] = ['path' => $path, 'body' => $body];

        return $path === '/api/calls' ? $this->ring : ['success' => true, 'emitted' => true];
    }

    private function answer(): void
    {
        if ($this->down) {
            throw new SignalingUnavailable('signaling did not answer: it is faked to be down');
        }
    }
}
