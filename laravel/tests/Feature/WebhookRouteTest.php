<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use BackedEnum;
use Illuminate\Filesystem\Filesystem;
use Illuminate\Support\Facades\Cache;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Schema as Builder;
use Illuminate\Support\Str;
use Illuminate\Testing\TestResponse;
use OnlyCare\Signaling\CallSnapshot;
use OnlyCare\Signaling\CallState;
use OnlyCare\Signaling\EndReason;
use OnlyCare\Signaling\Events\CallEnded;
use OnlyCare\Signaling\Events\CallPushRequired;
use OnlyCare\Signaling\Events\SignalingEvent;
use OnlyCare\Signaling\Events\UserOnline;
use OnlyCare\Signaling\Events\WebhookRefused;
use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Tests\TestCase;
use OnlyCare\Signaling\Webhooks\HandleWebhook;
use OnlyCare\Signaling\Webhooks\Refusal;
use OnlyCare\Signaling\Webhooks\WebhookSignature;
use PHPUnit\Framework\Attributes\DataProvider;
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
            $read = $heard->call->{$name};
            self::assertSame($value, $read instanceof BackedEnum ? $read->value : $read, $name);
        }
        self::assertSame([CallState::Ended, EndReason::HungUp], [$heard->call->state, $heard->call->reason]);
        self::assertNull($heard->call->expiresAt);
    }

    public function test_words_of_a_newer_server_are_read(): void
    {
        $call = CallSnapshot::fromFields(['state' => 'parked', 'reason' => 'transferred']);
        self::assertSame([null, EndReason::Other], [$call->state, $call->reason]);
        self::assertSame(['parked', 'transferred'], [$call->fields['state'], $call->fields['reason']]);
        self::assertNull(CallSnapshot::fromFields([])->reason);
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

    public function test_ids_that_were_taken_fill_no_disk(): void
    {
        $folder = storage_path('ids');
        config([
            'cache.stores.ids' => ['driver' => 'file', 'path' => $folder],
            'websocket.webhook_dedupe_store' => 'ids',
        ]);
        $heard = 0;
        Event::forget(SignalingEvent::class);
        Event::listen(UserOnline::class, function () use (&$heard): void {
            $heard++;
        });
        $send = function (int ...$numbers): void {
            foreach ($numbers as $number) {
                $at = now()->getTimestamp();
                $this->webhook('user.online', ['userId' => 'USR_1'], "msg_$number", $at)->assertNoContent();
            }
        };
        $send(...range(1, 600));
        self::assertSame(600, $heard);
        $send(1, 300, 600);
        self::assertSame(600, $heard, 'a repeat was taken');
        self::assertLessThan(600, count((new Filesystem())->allFiles($folder)), 'each has a file for ever');
        $this->travel(8)->days();
        $send(1);
        self::assertSame(601, $heard);
    }

    public function test_a_cache_that_forgets_by_itself_has_an_entry_for_each(): void
    {
        config(['websocket.webhook_dedupe_store' => 'array']);
        $this->webhook('call.ended', self::ENDED, 'msg_1')->assertNoContent();
        self::assertTrue(Cache::store('array')->has('signaling:webhook:' . hash('sha256', 'msg_1')));
        Event::fake();
        $this->webhook('call.ended', self::ENDED, 'msg_1')->assertNoContent();
        Event::assertNotDispatched(CallEnded::class);
    }

    public function test_what_failed_is_taken_again(): void
    {
        $heard = 0;
        Event::listen(CallEnded::class, function () use (&$heard): void {
            $heard++ > 0 || throw new RuntimeException('the database is away');
        });
        $id = 'msg_' . Str::random();
        $this->webhook('call.ended', self::ENDED, $id)->assertStatus(503);
        $this->webhook('call.ended', self::ENDED, $id)->assertNoContent();
        self::assertSame(2, $heard);
    }

    /** @dataProvider forgetful */
    #[DataProvider('forgetful')]
    public function test_a_queue_that_keeps_nothing_takes_no_webhook(array $queue, string $why): void
    {
        $heard = 0;
        Event::listen(CallEnded::class, function () use (&$heard): void {
            $heard++;
        });
        $id = 'msg_' . Str::random();
        $working = config('queue');
        $log = $this->logged();
        $this->useQueue($queue);
        foreach (range(1, 3) as $_) {
            $this->webhook('call.ended', self::ENDED, $id)->assertStatus(503)->assertJson(['code' => 'not_stored']);
        }
        $lines = array_filter($log->lines, fn (array $line) => str_contains($line['message'], 'answered 503'));
        self::assertCount(1, $lines, json_encode($log->lines));
        self::assertStringContainsString($why, reset($lines)['message']);
        self::assertSame(0, $heard);

        $this->useQueue($working);
        $this->webhook('call.ended', self::ENDED, $id)->assertNoContent();
        self::assertSame(1, $heard);
    }

    /** @return array<string, array{0: array<string, mixed>, 1: string}> */
    public static function forgetful(): array
    {
        $one = fn (array $connection) => ['default' => 'one', 'connections' => ['one' => $connection]];
        $cases = [
            'no config/queue.php' => [[], 'config/queue.php is missing'],
            'none by name' => [['default' => 'null', 'connections' => []], 'drops every job'],
            'none by driver' => [$one(['driver' => 'null']), 'drops every job'],
            'unknown' => [['default' => 'other', 'connections' => []], "'other' can't be used"],
        ];
        $later = 'keeps it nowhere';
        if (class_exists('Illuminate\Queue\DeferredQueue')) {
            $cases['after the answer'] = [$one(['driver' => 'deferred']), $later];
            $cases['in another process'] = [$one(['driver' => 'background']), $later];
            $cases['in the end nowhere'] = [['default' => 'one', 'connections' => [
                'one' => ['driver' => 'failover', 'connections' => ['sync', 'two']],
                'sync' => ['driver' => 'sync'],
                'two' => ['driver' => 'deferred'],
            ]], $later];
        }

        return $cases;
    }

    public function test_options_that_are_empty_mean_the_defaults(): void
    {
        $heard = 0;
        Event::listen(CallPushRequired::class, function () use (&$heard): void {
            $heard++;
        });
        foreach (['webhook_connection', 'webhook_queue', 'push_queue', 'webhook_dedupe_store'] as $option) {
            config(["websocket.$option" => '']);
        }
        $this->webhook('call.push_required', self::ENDED)->assertNoContent();
        self::assertSame(1, $heard);
    }

    public function test_what_could_not_be_stored_is_taken_again(): void
    {
        config(['websocket.webhook_connection' => 'database']);
        DB::table('jobs')->delete();
        Builder::rename('jobs', 'jobs_away');
        $id = 'msg_' . Str::random();
        $this->webhook('call.ended', self::ENDED, $id)->assertStatus(503);
        Builder::rename('jobs_away', 'jobs');
        $this->webhook('call.ended', self::ENDED, $id)->assertNoContent();
        $this->webhook('call.ended', self::ENDED, $id)->assertNoContent();
        self::assertSame(1, DB::table('jobs')->count());
        DB::table('jobs')->delete();
    }

    public function test_a_cache_that_fails_holds_no_webhook_back(): void
    {
        config(['websocket.webhook_dedupe_store' => 'unknown']);
        $heard = 0;
        Event::listen(CallEnded::class, function () use (&$heard): void {
            $heard++;
        });
        $this->webhook('call.ended', self::ENDED)->assertNoContent();
        self::assertSame(1, $heard);
    }

    public function test_a_refusal_is_logged_once_a_minute_and_is_an_event(): void
    {
        $log = $this->logged();
        $heard = [];
        Event::listen(WebhookRefused::class, function (WebhookRefused $event) use (&$heard): void {
            $heard[] = [$event->refusal, $event->ip];
        });
        $other = new WebhookSignature('whsec_' . base64_encode(random_bytes(32)));
        foreach (range(1, 3) as $_) {
            $this->webhook('call.ended', self::ENDED, signature: $other)->assertStatus(401);
            $this->webhook('call.ended', self::ENDED, at: time() - 301)->assertStatus(401);
            $this->post('/webhooks/signaling')->assertStatus(401);
        }
        self::assertSame([
            [Refusal::Signature, '127.0.0.1'],
            [Refusal::Clock, '127.0.0.1'],
            [Refusal::Unsigned, '127.0.0.1'],
        ], $heard);
        self::assertCount(3, $log->lines);
        self::assertStringContainsString('WEBSOCKET_WEBHOOK_SECRET differs', $log->lines[0]['message']);
        $this->travel(61)->seconds();
        $this->webhook('call.ended', self::ENDED, at: now()->getTimestamp(), signature: $other)->assertStatus(401);
        self::assertCount(4, $log->lines);
    }

    public function test_a_secret_that_is_none_is_named_and_the_webhooks_wait(): void
    {
        $log = $this->logged();
        config(['websocket.webhook_secret' => 'whsec_short']);
        foreach (range(1, 2) as $_) {
            $this->webhook('call.ended', self::ENDED)->assertStatus(503);
        }
        self::assertCount(1, $log->lines);
        self::assertStringContainsString('WEBSOCKET_WEBHOOK_SECRET', $log->lines[0]['message']);
        self::assertStringNotContainsString('whsec_short', json_encode($log->lines));
    }

    public function test_a_job_says_what_it_is_and_when_it_is_given_up(): void
    {
        $job = new HandleWebhook('msg_1', 'call.ended', 'now', self::ENDED);
        self::assertSame('signaling call.ended', $job->displayName());
        self::assertSame(['signaling', 'call.ended', 'call:CALL_7'], $job->tags());
        $log = $this->logged();
        $job->failed(new RuntimeException('the database is away'));
        self::assertSame('the webhook call.ended is given up', $log->lines[0]['message']);
        self::assertSame('call:CALL_7', $log->lines[0]['context']['subject']);
    }

    public function test_the_end_of_a_call_outlives_an_hour_without_a_database(): void
    {
        DB::table('jobs')->delete();
        config(['websocket.webhook_connection' => 'database']);
        $away = true;
        $heard = [];
        Event::listen(SignalingEvent::class, function (SignalingEvent $event) use (&$away, &$heard): void {
            $away ? throw new RuntimeException('the database is away') : $heard[] = get_class($event);
        });
        $this->webhook('call.ended', self::ENDED)->assertNoContent();
        $this->webhook('user.online', ['userId' => 'USR_1'])->assertNoContent();
        for ($minute = 0; $minute < 90; $minute++) {
            $away = $minute < 60;
            foreach ([1, 2] as $_) {
                $this->artisan('queue:work', ['connection' => 'database', '--once' => true, '--sleep' => 0]);
            }
            $this->travel(1)->minutes();
        }
        self::assertSame([CallEnded::class], $heard);
        self::assertSame(0, DB::table('jobs')->count());
    }

    public function test_a_try_waits_no_longer_than_every_queue_can(): void
    {
        foreach (array_keys(HandleWebhook::CALL_EVENTS + HandleWebhook::USER_EVENTS) as $type) {
            $job = new HandleWebhook('msg_1', $type, 'now', self::ENDED);
            // SQS takes no more.
            self::assertLessThanOrEqual(900, max($job->backoff()));
        }
    }

    private function useQueue(array $queue): void
    {
        config(['queue' => $queue]);
        $this->app->forgetInstance('queue');
        $this->app->forgetInstance(\Illuminate\Contracts\Bus\Dispatcher::class);
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

    public function test_a_push_queue_that_is_empty_is_that_of_all_webhooks(): void
    {
        DB::table('jobs')->delete();
        $options = ['webhook_connection' => 'database', 'webhook_queue' => 'signaling', 'push_queue' => ''];
        foreach ($options as $option => $value) {
            config(["websocket.$option" => $value]);
        }
        $this->webhook('call.push_required', self::ENDED)->assertNoContent();
        self::assertSame(['signaling'], DB::table('jobs')->pluck('queue')->all());
        DB::table('jobs')->delete();
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
