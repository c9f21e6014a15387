<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Str;
use Illuminate\Testing\TestResponse;
use OnlyCare\Signaling\Events\CallEnded;
use OnlyCare\Signaling\Events\CallPushRequired;
use OnlyCare\Signaling\Events\SignalingEvent;
use OnlyCare\Signaling\Events\UserOnline;
use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Tests\TestCase;
use OnlyCare\Signaling\Webhooks\HandleWebhook;
use OnlyCare\Signaling\Webhooks\WebhookSignature;
use RuntimeException;

final class WebhookRouteTest extends TestCase
{
    private const ENDED = [
        'callId' => 'CALL_7', 'seq' => 4, 'state' => 'ended', 'callerId' => 'USR_1', 'receiverId' => 'USR_2',
        'callType' => 'VIDEO', 'createdAt' => 1795368390715, 'ringingAt' => 1795368391000,
        'acceptedAt' => 1795368395000, 'endedAt' => 1795368452158, 'durationMs' => 57158, 'talkMs' => 40000,
        'absentSince' => 1795368435000, 'reason' => 'hung_up', 'endedBy' => 'USR_1',
    ];

    public function test_a_webhook_becomes_an_event_with_all_it_carries(): void
    {
        $heard = null;
        Event::listen(CallEnded::class, function (CallEnded $event) use (&$heard): void {
            $heard = $event;
        });
        $this->webhook('call.ended', self::ENDED)->assertNoContent();
        self::assertSame('2026-11-22T19:13:12+00:00', $heard->occurredAt->format(DATE_ATOM));
        foreach (self::ENDED as $name => $value) {
            self::assertSame($value, $heard->call->{$name}, $name);
        }
        self::assertNull($heard->call->expiresAt);
    }

    public function test_each_type_has_its_event(): void
    {
        $heard = [];
        Event::listen(SignalingEvent::class, function (SignalingEvent $event) use (&$heard): void {
            $heard[] = get_class($event);
        });
        foreach (array_keys(HandleWebhook::CALL_EVENTS) as $type) {
            $this->webhook($type, ['callId' => 'CALL_unknown', 'seq' => 1, 'createdAt' => 1])->assertNoContent();
        }
        foreach (array_keys(HandleWebhook::USER_EVENTS) as $type) {
            $this->webhook($type, ['userId' => 'USR_1'])->assertNoContent();
        }
        self::assertSame(array_values(HandleWebhook::CALL_EVENTS + HandleWebhook::USER_EVENTS), $heard);
    }

    public function test_a_forged_one_is_refused(): void
    {
        Event::fake();
        $forger = new WebhookSignature('whsec_' . base64_encode(random_bytes(32)));
        $this->webhook('call.ended', self::ENDED, signature: $forger)->assertStatus(401);
        $this->webhook('call.ended', self::ENDED, at: time() - 301)->assertStatus(401);
        $this->post('/webhooks/signaling', ['type' => 'call.ended'])->assertStatus(401);
        Event::assertNotDispatched(CallEnded::class);
    }

    public function test_what_is_signed_and_no_event_is_refused_and_an_unknown_type_is_dropped(): void
    {
        $bodies = ['', '[]', 'null', '{"type":3,"data":{}}', '{"type":"call.ended"}', '{"type":"call.ended","data":1}'];
        foreach ($bodies as $body) {
            $this->send($body)->assertStatus(400);
        }
        $this->webhook('call.transferred', self::ENDED)->assertNoContent();
    }

    public function test_a_repeat_is_taken_once(): void
    {
        $heard = 0;
        Event::listen(CallEnded::class, function () use (&$heard): void {
            $heard++;
        });
        $id = 'msg_' . Str::random();
        $this->webhook('call.ended', self::ENDED, $id)->assertNoContent();
        $this->webhook('call.ended', self::ENDED, $id)->assertNoContent();
        self::assertSame(1, $heard);
        config(['websocket.webhook_dedupe' => false]);
        $this->webhook('call.ended', self::ENDED, $id)->assertNoContent();
        self::assertSame(2, $heard);
    }

    public function test_what_failed_is_taken_again(): void
    {
        $heard = 0;
        Event::listen(CallEnded::class, function () use (&$heard): void {
            $heard++ > 0 || throw new RuntimeException('the database is away');
        });
        $id = 'msg_' . Str::random();
        $this->webhook('call.ended', self::ENDED, $id)->assertStatus(500);
        $this->webhook('call.ended', self::ENDED, $id)->assertNoContent();
        self::assertSame(2, $heard);
    }

    public function test_events_wait_on_the_queue_and_pushes_on_their_own(): void
    {
        DB::table('jobs')->delete();
        config([
            'websocket.webhook_connection' => 'database',
            'websocket.webhook_queue' => 'signaling',
            'websocket.push_queue' => 'push',
        ]);
        $heard = [];
        Event::listen(SignalingEvent::class, function (SignalingEvent $event) use (&$heard): void {
            $heard[] = get_class($event);
        });
        $this->webhook('call.ended', self::ENDED)->assertNoContent();
        $this->webhook('call.push_required', ['expiresAt' => (time() + 20) * 1000] + self::ENDED)->assertNoContent();
        self::assertSame([], $heard);
        self::assertSame(['push', 'signaling'], DB::table('jobs')->orderBy('queue')->pluck('queue')->all());
        foreach (['signaling', 'push'] as $queue) {
            $this->artisan('queue:work', ['connection' => 'database', '--queue' => $queue, '--once' => true]);
        }
        self::assertSame([CallEnded::class, CallPushRequired::class], $heard);
    }

    public function test_presence(): void
    {
        $heard = null;
        Event::listen(UserOnline::class, function (UserOnline $event) use (&$heard): void {
            $heard = $event->userId;
        });
        $this->webhook('user.online', ['userId' => 'USR_1'])->assertNoContent();
        self::assertSame('USR_1', $heard);
    }

    private function webhook(
        string $type,
        array $data,
        ?string $id = null,
        ?int $at = null,
        ?WebhookSignature $signature = null,
    ): TestResponse {
        $webhook = ['type' => $type, 'timestamp' => '2026-11-22T19:13:12Z', 'data' => $data];

        return $this->send(json_encode($webhook, JSON_THROW_ON_ERROR), $id, $at, $signature);
    }

    private function send(
        string $body,
        ?string $id = null,
        ?int $at = null,
        ?WebhookSignature $signature = null,
    ): TestResponse {
        $id ??= 'msg_' . Str::random();
        $at = (string) ($at ?? time());
        $signature ??= new WebhookSignature(Stage::WEBHOOK_SECRET);

        return $this->call('POST', '/webhooks/signaling', server: [
            'CONTENT_TYPE' => 'application/json',
            'HTTP_WEBHOOK_ID' => $id,
            'HTTP_WEBHOOK_TIMESTAMP' => $at,
            'HTTP_WEBHOOK_SIGNATURE' => $signature->sign($id, $at, $body),
        ], content: $body);
    }
}
