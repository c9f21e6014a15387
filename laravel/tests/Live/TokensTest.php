<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

use Illuminate\Support\Facades\Http;
use OnlyCare\Signaling\Tests\Support\Stage;

/** Who may connect is what Laravel's own route says. */
final class TokensTest extends LiveTestCase
{
    public function test_laravels_route_answers_as_the_server_expects(): void
    {
        [$ana, $token] = $this->user('ana');
        $me = Stage::get()->laravel . '/api/v1/users/me';
        self::assertSame($ana->id, Http::withToken($token)->get($me)->json('data.id'));
        $refused = Http::withToken('nonsense')->get($me);
        self::assertSame([401, 'UNAUTHENTICATED'], [$refused->status(), $refused->json('error.code')]);
    }

    public function test_a_phone_with_its_users_token_is_online(): void
    {
        [$ana, $phone] = $this->connected('ana');
        self::assertArrayHasKey('sessionId', $phone->expect('session:ready'));
        self::assertTrue($this->signaling->isUserOnline($ana->id));
        self::assertContains($ana->id, $this->signaling->getConnectedUsers());
        self::assertFalse($this->signaling->isUserOnline('USR_nobody'));
    }

    public function test_other_tokens_are_refused(): void
    {
        [$ana, $token] = $this->user('ana');
        [$eve] = $this->user('eve');
        self::assertSame('Invalid token', $this->phone($ana->id, 'nonsense')->refusal);
        self::assertSame('Invalid token', $this->phone($eve->id, $token)->refusal);
        self::assertFalse($this->signaling->isUserOnline($eve->id));
    }
}
