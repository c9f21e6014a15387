<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

use GuzzleHttp\Exception\ConnectException;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Http\Client\PendingRequest;
use Illuminate\Http\Client\Response;
use Illuminate\Support\Facades\Http;
use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\Exceptions\SignalingRefused;
use OnlyCare\Signaling\Exceptions\SignalingUnavailable;
use Throwable;

/** The server's HTTP API: bounded in time, with the secret, errors as exceptions. */
class SignalingClient
{
    public function __construct(private readonly Config $config, private readonly Breaker $breaker)
    {
    }

    /**
     * @return array<string, mixed>
     *
     * @throws SignalingException
     */
    public function get(string $path): array
    {
        return $this->send('GET', $path, []);
    }

    /**
     * Leaves out what is null: the server takes null for a value.
     *
     * @param array<string, mixed> $body
     *
     * @return array<string, mixed>
     *
     * @throws SignalingException
     */
    public function post(string $path, array $body): array
    {
        $body = array_filter($body, static fn (mixed $value): bool => $value !== null);
        if (json_encode($body) === false) {
            // What a user typed is no UTF-8: his text suffers, and neither his call nor the breaker.
            $flags = JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR;
            $body = (array) json_decode((string) json_encode($body, $flags), true);
        }

        return $this->send('POST', $path, ['json' => $body]);
    }

    /**
     * @param array<string, mixed> $options
     *
     * @return array<string, mixed>
     */
    private function send(string $method, string $path, array $options): array
    {
        if (!filter_var($this->config->get('websocket.enabled', true), FILTER_VALIDATE_BOOLEAN)) {
            throw new SignalingUnavailable('signaling is switched off by WEBSOCKET_ENABLED', skipped: true);
        }
        if (!$this->breaker->allows()) {
            throw new SignalingUnavailable('signaling did not answer lately and is not asked now', skipped: true);
        }
        try {
            $response = $this->request()->send($method, $this->address($path), $options);
        } catch (Throwable $failure) {
            $this->breaker->failed();
            // Without the cause: it holds the request, and with it the secret.
            throw new SignalingUnavailable("signaling did not answer $method $path: " . $this->cause($failure));
        }
        $this->breaker->succeeded();

        return $this->read($response, "$method $path");
    }

    private function request(): PendingRequest
    {
        $secret = (string) $this->config->get('websocket.secret');

        return Http::withoutRedirecting()
            ->acceptJson()
            ->withHeaders($secret === '' ? [] : ['X-Internal-Secret' => $secret])
            // To Guzzle 0, or an empty text of an application's own configuration, is no limit.
            ->withOptions([
                'connect_timeout' => (float) $this->config->get('websocket.connect_timeout') ?: 1.0,
                'timeout' => (float) $this->config->get('websocket.timeout') ?: 2.0,
            ]);
    }

    private function address(string $path): string
    {
        return rtrim((string) $this->config->get('websocket.url'), '/') . $path;
    }

    /** @return array<string, mixed> */
    private function read(Response $response, string $request): array
    {
        $answer = $response->json();
        $answer = is_array($answer) ? $answer : [];
        if ($response->successful() && $answer !== []) {
            return $answer;
        }
        $status = $response->status();
        $text = is_string($answer['error'] ?? null) ? $answer['error'] : 'no JSON object';
        $message = "signaling answered $request with $status: $text";
        if ($status === 429 || $status >= 500 || $response->successful()) {
            throw new SignalingUnavailable($message);
        }
        if ($status === 401) {
            $message .= ' (WEBSOCKET_SECRET differs from LARAVEL_API_SECRET)';
        }
        $code = $answer['code'] ?? null;
        throw new SignalingRefused($message, $status, is_string($code) ? $code : null, $answer);
    }

    private function cause(Throwable $failure): string
    {
        $inner = $failure->getPrevious() ?? $failure;
        $error = $inner instanceof ConnectException ? ($inner->getHandlerContext()['error'] ?? null) : null;

        return is_string($error) && $error !== '' ? $error : class_basename($inner);
    }
}
