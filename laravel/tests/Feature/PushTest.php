<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use DateTimeImmutable;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\DB;
use InvalidArgumentException;
use OnlyCare\Signaling\CallSnapshot;
use OnlyCare\Signaling\Events\CallCancelled;
use OnlyCare\Signaling\Events\CallMissed;
use OnlyCare\Signaling\Events\CallPushRequired;
use OnlyCare\Signaling\Push\CallCancelledPush;
use OnlyCare\Signaling\Push\IncomingCallPush;
use OnlyCare\Signaling\Push\SendsCallPush;
use OnlyCare\Signaling\Push\SendsCancelledPush;
use OnlyCare\Signaling\Tests\TestCase;
use OnlyCare\Signaling\Webhooks\HandleWebhook;
use RuntimeException;

final class PushTest extends TestCase
{
    public function test_the_application_pushes_what_its_app_reads(): void
    {
        $this->freeze();
        [$ana] = $this->user('ana');
        [$bo] = $this->user('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $this->require($row->id, age: 3, left: 27);
        $push = DB::table('pushes')->where('call_id', $row->id)->sole();
        self::assertSame('fcm-token-of-bo', $push->token);
        self::assertSame([
            'type' => 'incoming_call',
            'callId' => $row->id,
            'callerId' => $ana->id,
            'callerName' => 'ana',
            'callerPhoto' => 'https://img.example.com/ana.jpg',
            'channelId' => $row->channel_name,
            'agoraToken' => '006abc',
            'agoraAppId' => 'app',
            'callType' => 'VIDEO',
            'balanceTime' => '12:30',
            'timestamp' => (string) Carbon::now()->getTimestampMs(),
        ], json_decode($push->data, true));
        self::assertSame(['priority' => 'high', 'ttl' => '20s'], json_decode($push->android, true));
    }

    public function test_no_push_for_which_the_phone_would_not_ring(): void
    {
        $this->freeze();
        foreach ([[20, 10, true], [21, 9, false], [3, 0, false], [3, 1, true]] as [$age, $left, $sent]) {
            $row = $this->callRow($this->user('ana')[0]->id, $this->user('bo')[0]->id);
            $this->require($row->id, $age, $left);
            $pushed = DB::table('pushes')->where('call_id', $row->id)->exists();
            self::assertSame($sent, $pushed, "$age s old, $left s left");
        }
    }

    public function test_no_push_for_a_call_that_was_answered_or_is_over(): void
    {
        $this->freeze();
        $cases = ['PENDING' => true, 'CONNECTING' => true, 'ONGOING' => false, 'CANCELLED' => false, 'ENDED' => false];
        foreach ($cases as $status => $sent) {
            $row = $this->callRow($this->user('ana')[0]->id, $this->user('bo')[0]->id, $status);
            $this->require($row->id, age: 3, left: 27);
            self::assertSame($sent, DB::table('pushes')->where('call_id', $row->id)->exists(), $status);
        }
    }

    public function test_without_a_sender_nothing_happens(): void
    {
        $this->app->offsetUnset(SendsCallPush::class);
        $this->require('CALL_unknown', age: 1, left: 29);
        self::assertFalse(DB::table('pushes')->where('call_id', 'CALL_unknown')->exists());
    }

    public function test_the_payload_holds_texts_and_what_the_app_insists_on(): void
    {
        $data = IncomingCallPush::data('CALL_1', 'USR_1', null, null, 'channel', 'audio');
        self::assertSame(['Unknown', '', 'AUDIO'], [$data['callerName'], $data['callerPhoto'], $data['callType']]);
        self::assertSame(count($data), count(array_filter($data, is_string(...))));
        $this->expectException(InvalidArgumentException::class);
        IncomingCallPush::data('CALL_1', 'USR_1', 'ana', null, '', 'audio');
    }

    public function test_a_cancelled_call_is_silenced_where_a_phone_may_ring_for_it(): void
    {
        $this->freeze();
        $cases = [
            [CallCancelled::class, 'cancelled', 3, true],
            [CallCancelled::class, 'caller_gone', 20, true],
            [CallMissed::class, 'no_answer', 3, true],
            [CallMissed::class, 'busy', 0, false],
            [CallCancelled::class, 'cancelled', 21, false],
        ];
        foreach ($cases as [$event, $reason, $age, $sent]) {
            $row = $this->callRow($this->user('ana')[0]->id, $this->user('bo')[0]->id);
            event(new $event('msg', new DateTimeImmutable(), CallSnapshot::fromFields([
                'callId' => $row->id,
                'callerId' => $row->caller_id,
                'reason' => $reason,
                'endedAt' => Carbon::now()->getTimestampMs() - $age * 1000,
            ])));
            $push = DB::table('pushes')->where('call_id', $row->id)->first();
            self::assertSame($sent, $push !== null, "$reason, $age s ago");
            if ($sent) {
                self::assertSame([
                    'type' => 'call_cancelled',
                    'callId' => $row->id,
                    'callerId' => $row->caller_id,
                    'reason' => $reason,
                    'timestamp' => (string) Carbon::now()->getTimestampMs(),
                ], json_decode($push->data, true));
                self::assertSame(['priority' => 'high', 'ttl' => '20s'], json_decode($push->android, true));
            }
        }
        $this->app->offsetUnset(SendsCancelledPush::class);
        event(new CallCancelled('msg', new DateTimeImmutable(), CallSnapshot::fromFields(['callId' => 'CALL_1'])));
        $this->expectException(InvalidArgumentException::class);
        CallCancelledPush::data('');
    }

    public function test_a_push_that_fails_keeps_the_end_of_a_call_from_no_listener(): void
    {
        $sender = new class implements SendsCancelledPush {
            public int $tried = 0;

            public function sendCancelledPush(CallCancelled|CallMissed $event): void
            {
                $this->tried++;
                throw new RuntimeException('the token is no longer registered');
            }
        };
        $this->app->instance(SendsCancelledPush::class, $sender);
        DB::table('jobs')->delete();
        config(['websocket.webhook_connection' => 'database', 'websocket.push_queue' => 'push']);
        $row = $this->callRow($this->user('ana')[0]->id, $this->user('bo')[0]->id);
        $fields = ['callId' => $row->id, 'endedAt' => Carbon::now()->getTimestampMs()];
        dispatch(new HandleWebhook('msg', 'call.missed', 'now', $fields))->onConnection('database')->onQueue('push');
        $once = ['connection' => 'database', '--queue' => 'push', '--once' => true, '--sleep' => 0];
        foreach (range(1, 30) as $_) {
            $this->artisan('queue:work', $once);
            $this->travel(1)->seconds();
        }
        self::assertGreaterThan(2, $sender->tried);
        self::assertSame(['CallMissed'], DB::table('events')->where('subject', $row->id)->pluck('type')->all());
        self::assertSame(0, DB::table('jobs')->count());
    }

    private function freeze(): void
    {
        Carbon::setTestNow(Carbon::createFromTimestampMs(1795368390715));
    }

    private function require(string $callId, int $age, int $left): void
    {
        $now = Carbon::now()->getTimestampMs();
        event(new CallPushRequired('msg', new DateTimeImmutable(), CallSnapshot::fromFields([
            'callId' => $callId,
            'createdAt' => $now - $age * 1000,
            'expiresAt' => $now + $left * 1000,
        ])));
    }
}
