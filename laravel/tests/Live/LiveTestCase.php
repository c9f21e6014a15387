<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

use Illuminate\Http\Client\Response;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Http;
use OnlyCare\Signaling\Tests\Backend\Call;
use OnlyCare\Signaling\Tests\Backend\User;
use OnlyCare\Signaling\Tests\Support\Phone;
use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Tests\TestCase;
use OnlyCare\Signaling\WebSocketService;

/** A test against the real server, which asks the real Laravel. */
abstract class LiveTestCase extends TestCase
{
    private const PATIENCE_SECONDS = 8;

    protected WebSocketService $signaling;

    protected function setUp(): void
    {
        parent::setUp();
        Stage::get()->goLive();
        // The application of this process started before the server had an address.
        config(['websocket.url' => Stage::get()->signaling, 'websocket.breaker_seconds' => 0]);
        $this->signaling = new WebSocketService();
    }

    /** @return array{0: User, 1: Phone, 2: string} the user, his phone, which all nodes know of, his token */
    protected function connected(string $name): array
    {
        [$user, $token] = $this->user($name);
        $phone = $this->phone($user->id, $token);
        $phone->await('session:ready');

        return [$user, $phone, $token];
    }

    protected function phone(string $userId, string $token): Phone
    {
        return new Phone(Stage::get()->signaling, $userId, $token);
    }

    /** Ana's phone calls Bo about a row that Laravel has. */
    protected function initiate(Phone $caller, Call $row): array
    {
        return $caller->call('call:initiate', [
            'receiverId' => $row->receiver_id,
            'callId' => $row->id,
            'callType' => $row->call_type,
            'channelName' => $row->channel_name,
            'agoraToken' => $row->agora_token,
        ]);
    }

    /** A request of a phone to the REST API. */
    protected function rest(string $token, string $path, array $body = []): Response
    {
        return Http::withToken($token)->acceptJson()->post(Stage::get()->laravel . "/api/v1/$path", $body);
    }

    /** The names of the Laravel events of a call, as soon as the last one is there. */
    protected function eventsOf(string $callId, string $last): array
    {
        $deadline = microtime(true) + self::PATIENCE_SECONDS;
        do {
            $events = DB::table('events')->where('subject', $callId)->orderBy('seq')->pluck('type')->all();
            if (in_array($last, $events, true)) {
                return $events;
            }
            usleep(20_000);
        } while (microtime(true) < $deadline);
        self::fail("no $last of $callId, only " . json_encode($events));
    }

    protected function needsWebhooks(): void
    {
        if (!Stage::binaryHas('WEBHOOK_SECRET')) {
            self::markTestSkipped('skipped: this binary sends no webhooks yet');
        }
    }
}
