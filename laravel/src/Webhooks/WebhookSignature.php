<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

use Illuminate\Contracts\Config\Repository as Config;
use InvalidArgumentException;
use SensitiveParameter;

/** Signatures of the Standard Webhooks specification 1.0.0, symmetric (v1). */
final class WebhookSignature
{
    private const PREFIX = 'whsec_';

    /** @var non-empty-list<string> */
    private array $keys;

    /** @param string $secrets `whsec_` and base64; a comma list of two while rotating */
    public function __construct(#[SensitiveParameter] string $secrets, private readonly int $toleranceSeconds = 300)
    {
        $listed = array_filter(array_map(trim(...), explode(',', $secrets)), static fn ($secret) => $secret !== '');
        if ($listed === []) {
            throw new InvalidArgumentException('no webhook secret is set');
        }
        $this->keys = array_map(self::key(...), array_values($listed));
    }

    /** @throws InvalidArgumentException */
    public static function fromConfig(Config $config): self
    {
        return new self(
            (string) $config->get('websocket.webhook_secret'),
            (int) $config->get('websocket.webhook_tolerance', 300),
        );
    }

    /** Whether one of the signatures was made with one of the secrets, lately. */
    public function accepts(string $id, string $timestamp, string $signatures, string $body, int $now): bool
    {
        return $this->refusal($id, $timestamp, $signatures, $body, $now) === null;
    }

    public function refusal(string $id, string $timestamp, string $signatures, string $body, int $now): ?Refusal
    {
        return match (true) {
            $id === '' || !ctype_digit($timestamp) || $signatures === '' => Refusal::Unsigned,
            !$this->isSigned($id, $timestamp, $signatures, $body) => Refusal::Signature,
            abs($now - (int) $timestamp) > $this->toleranceSeconds => Refusal::Clock,
            default => null,
        };
    }

    private function isSigned(string $id, string $timestamp, string $signatures, string $body): bool
    {
        $accepted = false;
        foreach ($this->keys as $key) {
            $expected = self::signed($key, $id, $timestamp, $body);
            foreach (explode(' ', $signatures) as $signature) {
                // No early way out: how long it takes tells nothing.
                $accepted = hash_equals($expected, $signature) || $accepted;
            }
        }

        return $accepted;
    }

    /** The header's value: one signature for each secret. For tests of the application. */
    public function sign(string $id, string $timestamp, string $body): string
    {
        $sign = static fn (string $key): string => self::signed($key, $id, $timestamp, $body);

        return implode(' ', array_map($sign, $this->keys));
    }

    private static function signed(
        #[SensitiveParameter] string $key,
        string $id,
        string $timestamp,
        string $body,
    ): string {
        return 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    }

    private static function key(#[SensitiveParameter] string $secret): string
    {
        $encoded = str_starts_with($secret, self::PREFIX) ? substr($secret, strlen(self::PREFIX)) : $secret;
        $key = base64_decode($encoded, true);
        if ($key === false || strlen($key) < 24) {
            throw new InvalidArgumentException('a webhook secret is whsec_ and the base64 of 24 to 64 bytes');
        }

        return $key;
    }
}
