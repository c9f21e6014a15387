<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use InvalidArgumentException;
use OnlyCare\Signaling\Webhooks\WebhookSignature;
use PHPUnit\Framework\TestCase;

final class WebhookSignatureTest extends TestCase
{
    // The example that the libraries of the specification are tested with.
    private const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    private const ID = 'msg_p5jXN8AQM9LWM0D4loKWxJek';
    private const AT = '1614265330';
    private const BODY = '{"test": 2432232314}';
    private const SIGNATURE = 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=';

    public function test_the_published_example(): void
    {
        self::assertSame(self::SIGNATURE, (new WebhookSignature(self::SECRET))->sign(self::ID, self::AT, self::BODY));
        self::assertTrue($this->accepts());
    }

    public function test_whatever_is_changed_is_refused(): void
    {
        self::assertFalse($this->accepts(body: '{"test": 2432232315}'));
        self::assertFalse($this->accepts(id: 'msg_other'));
        self::assertFalse($this->accepts(at: '1614265331'));
        self::assertFalse($this->accepts(secrets: 'whsec_' . base64_encode(random_bytes(32))));
        foreach (['', 'v1,', 'v1', substr(self::SIGNATURE, 3), 'v1a,' . substr(self::SIGNATURE, 3)] as $signatures) {
            self::assertFalse($this->accepts(signatures: $signatures), $signatures);
        }
        self::assertFalse($this->accepts(id: ''));
        self::assertFalse($this->accepts(at: 'now'));
    }

    public function test_only_what_was_sent_lately(): void
    {
        foreach ([-300 => true, 300 => true, -301 => false, 301 => false] as $later => $accepted) {
            self::assertSame($accepted, $this->accepts(later: $later), "$later s");
        }
    }

    public function test_secrets_rotate_on_either_side(): void
    {
        $new = 'whsec_' . base64_encode(random_bytes(32));
        $both = self::SECRET . ', ' . $new;
        self::assertTrue($this->accepts(secrets: $both), 'Laravel knows both');
        $signedTwice = (new WebhookSignature($both))->sign(self::ID, self::AT, self::BODY);
        self::assertTrue($this->accepts(signatures: $signedTwice), 'Laravel has the old one');
        self::assertTrue($this->accepts(secrets: $new, signatures: $signedTwice), 'Laravel has the new one');
    }

    public function test_a_secret_that_is_none_is_named_without_being_shown(): void
    {
        foreach (['', ' , ', 'whsec_not/base64!', 'whsec_c2hvcnQ='] as $secret) {
            try {
                new WebhookSignature($secret);
                self::fail("$secret was taken");
            } catch (InvalidArgumentException $invalid) {
                self::assertStringNotContainsString('not/base64', $invalid->getMessage());
            }
        }
    }

    private function accepts(
        string $secrets = self::SECRET,
        string $id = self::ID,
        string $at = self::AT,
        string $signatures = self::SIGNATURE,
        string $body = self::BODY,
        int $later = 0,
    ): bool {
        return (new WebhookSignature($secrets))->accepts($id, $at, $signatures, $body, (int) self::AT + $later);
    }
}
