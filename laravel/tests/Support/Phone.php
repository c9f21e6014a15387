<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Support;

use RuntimeException;

/** A phone: one Socket.IO connection by long polling, and what it heard and has not been asked for yet. */
final class Phone
{
    private const PATIENCE_SECONDS = 8;
    private const SEPARATOR = "\x1e";

    private string $url;

    /** @var list<array{0: string, 1: mixed}> */
    private array $heard = [];

    /** @var array<int, mixed> */
    private array $acknowledged = [];

    private int $sent = 0;

    public ?string $refusal = null;

    public function __construct(string $server, string $userId, string $token)
    {
        $this->url = "$server/socket.io/?EIO=4&transport=polling";
        $opened = json_decode(substr($this->http(), 1), true, 8, JSON_THROW_ON_ERROR);
        $this->url .= '&sid=' . rawurlencode($opened['sid']);
        $this->http('40' . json_encode(['token' => $token, 'userId' => $userId], JSON_THROW_ON_ERROR));
        $this->until(fn () => $this->refusal !== null || $this->hasHeard('(connect)'), 'an answer to its CONNECT');
    }

    /** Emits an event and waits for its acknowledgement. */
    public function call(string $event, array $payload): mixed
    {
        $number = $this->sent++;
        $this->http("42$number" . json_encode([$event, $payload], JSON_THROW_ON_ERROR));
        $this->until(fn () => array_key_exists($number, $this->acknowledged), "the acknowledgement of $event");

        return $this->acknowledged[$number];
    }

    /** Waits for this event, which stays to be expected. */
    public function await(string $event): void
    {
        $this->until(fn () => $this->hasHeard($event), $event);
    }

    /** The next payload of this event; what else was heard stays. */
    public function expect(string $event): mixed
    {
        $this->await($event);
        foreach ($this->heard as $index => [$name, $payload]) {
            if ($name === $event) {
                unset($this->heard[$index]);

                return $payload;
            }
        }
    }

    /** Disconnects for good. */
    public function close(): void
    {
        $this->http('41');
    }

    private function hasHeard(string $event): bool
    {
        return in_array($event, array_column($this->heard, 0), true);
    }

    private function until(callable $condition, string $what): void
    {
        $deadline = microtime(true) + self::PATIENCE_SECONDS;
        while (!$condition()) {
            $left = $deadline - microtime(true);
            if ($left <= 0) {
                throw new RuntimeException("waited for $what, heard " . json_encode(array_values($this->heard)));
            }
            foreach (explode(self::SEPARATOR, $this->http(null, $left)) as $packet) {
                $this->hear($packet);
            }
        }
    }

    private function hear(string $packet): void
    {
        if ($packet === '2') {
            $this->http('3');
        } elseif (str_starts_with($packet, '40')) {
            $this->heard[] = ['(connect)', null];
        } elseif (str_starts_with($packet, '41') || $packet === '1') {
            $this->heard[] = ['(disconnect)', null];
        } elseif (str_starts_with($packet, '44')) {
            $this->refusal = json_decode(substr($packet, 2), true)['message'] ?? '';
        } elseif (preg_match('/^42(\d*)(\[.*)$/s', $packet, $match) === 1) {
            $event = json_decode($match[2], true, 512, JSON_THROW_ON_ERROR);
            $this->heard[] = [$event[0], $event[1] ?? null];
        } elseif (preg_match('/^43(\d+)(\[.*)$/s', $packet, $match) === 1) {
            $this->acknowledged[(int) $match[1]] = json_decode($match[2], true, 512, JSON_THROW_ON_ERROR)[0] ?? null;
        }
    }

    private function http(?string $body = null, float $seconds = self::PATIENCE_SECONDS): string
    {
        $curl = curl_init($this->url);
        $options = [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT_MS => (int) max(1, $seconds * 1000)];
        if ($body !== null) {
            $options += [CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => ['Content-Type: text/plain;charset=UTF-8']];
        }
        curl_setopt_array($curl, $options);
        $answer = curl_exec($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($answer === false && $body === null && curl_errno($curl) === CURLE_OPERATION_TIMEDOUT) {
            return '';
        }
        if ($status !== 200) {
            throw new RuntimeException("the server answered a phone with $status: " . curl_error($curl) . $answer);
        }

        return $answer;
    }
}
