<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use DateTimeImmutable;
use Illuminate\Http\Client\Factory;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Http;
use OnlyCare\Signaling\Calls\CallRows;
use OnlyCare\Signaling\Calls\TellTransition;
use OnlyCare\Signaling\CallSnapshot;
use OnlyCare\Signaling\Events\CallVerify;
use OnlyCare\Signaling\Tests\Backend\Call;
use OnlyCare\Signaling\Tests\TestCase;
use PHPUnit\Framework\Attributes\DataProvider;
use RuntimeException;

final class CallStatusObserverTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        config(['websocket.breaker_seconds' => 0]);
        Http::fake(['*' => Http::response(['success' => true, 'emitted' => true])]);
    }

    /** @dataProvider statuses */
    #[DataProvider('statuses')]
    public function test_a_status_is_told(string $status, string $endpoint, array $body): void
    {
        $this->callRow('USR_1', 'USR_2')->update(['status' => $status]);
        $this->assertTold([[$endpoint, $body]]);
    }

    /** @return array<string, array{0: string, 1: string, 2: array<string, string>}> */
    public static function statuses(): array
    {
        $parties = ['callerId' => 'USR_1', 'receiverId' => 'USR_2'];

        return [
            'ongoing' => ['ONGOING', 'call-accepted', $parties],
            'rejected' => ['REJECTED', 'call-rejected', $parties],
            'cancelled' => ['CANCELLED', 'call-cancelled', ['receiverId' => 'USR_2']],
            'missed' => ['MISSED', 'call-cancelled', ['receiverId' => 'USR_2', 'reason' => 'Timeout']],
            'ended' => ['ENDED', 'call-ended', []],
        ];
    }

    public function test_nothing_but_a_change_of_status_is_told(): void
    {
        $row = $this->callRow('USR_1', 'USR_2', 'PENDING');
        $row->update(['status' => 'CONNECTING']);
        $row->update(['rating' => 5]);
        $row->update(['status' => 'CONNECTING']);
        $row->save();
        Http::assertNothingSent();
    }

    public function test_it_is_told_after_the_commit_and_once(): void
    {
        $row = $this->callRow('USR_1', 'USR_2');
        DB::transaction(function () use ($row): void {
            $row->update(['status' => 'REJECTED']);
            // A later save forgets what the former one changed.
            $row->update(['rating' => 1]);
            Http::assertNothingSent();
        });
        $this->assertTold([['call-rejected', ['callerId' => 'USR_1', 'receiverId' => 'USR_2']]]);
    }

    public function test_what_is_rolled_back_is_not_told(): void
    {
        $row = $this->callRow('USR_1', 'USR_2');
        try {
            DB::transaction(function () use ($row): void {
                $row->update(['status' => 'ENDED']);
                throw new RuntimeException('billing failed');
            });
        } catch (RuntimeException) {
        }
        Http::assertNothingSent();
    }

    public function test_who_hangs_up_is_named_if_he_is_a_party(): void
    {
        [$ana] = $this->user('ana');
        [$eve] = $this->user('eve');
        Auth::setUser($ana);
        $this->callRow($ana->id, 'USR_2', 'ONGOING')->update(['status' => 'ENDED']);
        Auth::setUser($eve);
        $this->callRow($ana->id, 'USR_2', 'ONGOING')->update(['status' => 'ENDED']);
        $this->assertTold([['call-ended', ['endedBy' => $ana->id]], ['call-ended', []]]);
    }

    public function test_columns_and_statuses_are_the_applications(): void
    {
        config([
            'websocket.call_columns' => [
                'id' => 'id',
                'caller' => 'receiver_id',
                'receiver' => 'caller_id',
                'status' => 'agora_token',
                'reason' => 'channel_name',
            ],
            'websocket.call_statuses' => ['declined' => 'rejected', 'broken' => 'nonsense'],
        ]);
        $row = $this->callRow('USR_1', 'USR_2');
        $row->update(['agora_token' => 'declined']);
        $row->update(['agora_token' => 'broken']);
        $body = ['callerId' => 'USR_2', 'receiverId' => 'USR_1', 'reason' => $row->channel_name];
        $this->assertTold([['call-rejected', $body]]);
    }

    public function test_a_column_that_is_not_named_has_its_usual_name(): void
    {
        config(['websocket.call_columns' => ['reason' => 'channel_name']]);
        $row = $this->callRow('USR_1', 'USR_2');
        $row->update(['status' => 'REJECTED']);
        $body = ['callerId' => 'USR_1', 'receiverId' => 'USR_2', 'reason' => $row->channel_name];
        $this->assertTold([['call-rejected', $body]]);
    }

    public function test_a_save_outlives_a_server_that_is_gone(): void
    {
        config(['websocket.url' => 'http://127.0.0.1:9']);
        Http::swap(new Factory());
        $row = $this->callRow('USR_1', 'USR_2');
        $row->update(['status' => 'ENDED']);
        self::assertSame('ENDED', $row->fresh()->status);
    }

    public function test_what_could_not_be_told_is_told_by_the_queue(): void
    {
        DB::table('jobs')->delete();
        config(['websocket.transitions_connection' => 'database', 'websocket.transitions_queue' => 'calls']);
        $this->answerWith(503);
        $this->callRow('USR_1', 'USR_2')->update(['status' => 'REJECTED']);
        self::assertSame(1, DB::table('jobs')->where('queue', 'calls')->count());
        $this->answerWith(200);
        $this->work();
        $this->assertTold([['call-rejected', ['callerId' => 'USR_1', 'receiverId' => 'USR_2']]]);
        self::assertSame(0, DB::table('jobs')->count());
    }

    public function test_the_queue_does_not_tell_what_is_no_longer_true(): void
    {
        DB::table('jobs')->delete();
        config(['websocket.transitions_connection' => 'database', 'websocket.transitions_queue' => 'calls']);
        $row = $this->callRow('USR_1', 'USR_2');
        $this->answerWith(503);
        $row->update(['status' => 'ONGOING']);
        $this->answerWith(200);
        $row->update(['status' => 'ENDED']);
        $this->work();
        $this->assertTold([['call-ended', []]]);
    }

    public function test_a_queue_that_keeps_nothing_or_is_not_named_is_not_taken_for_one(): void
    {
        config(['queue.connections.nowhere' => ['driver' => 'null'], 'queue.default' => 'database']);
        DB::table('jobs')->delete();
        $log = $this->logged();
        $this->answerWith(503);
        foreach (['nowhere' => 1, '' => 0] as $connection => $lines) {
            $log->lines = [];
            config(['websocket.transitions_connection' => $connection]);
            $this->callRow('USR_1', 'USR_2')->update(['status' => 'REJECTED']);
            $said = array_filter($log->lines, fn (array $line) => str_contains($line['message'], 'was not queued'));
            self::assertCount($lines, $said, json_encode($log->lines));
        }
        self::assertSame(0, DB::table('jobs')->count());
    }

    public function test_a_refusal_is_not_queued(): void
    {
        DB::table('jobs')->delete();
        config(['websocket.transitions_connection' => 'database']);
        $this->answerWith(401);
        $this->callRow('USR_1', 'USR_2')->update(['status' => 'REJECTED']);
        self::assertSame(0, DB::table('jobs')->count());
    }

    public function test_a_stale_call_is_ended_when_signaling_asks(): void
    {
        $over = ['ONGOING' => false, 'CONNECTING' => false, 'ENDED' => true, 'REJECTED' => true];
        foreach ($over as $status => $ended) {
            $this->answerWith(200);
            $row = $this->callRow('USR_1', 'USR_2', $status);
            $this->verify($row->id);
            $this->assertTold($ended ? [['call-ended', ['callId' => $row->id]]] : []);
        }
        $this->verify('CALL_unknown');
    }

    public function test_a_row_is_found_by_either_spelling_of_its_id(): void
    {
        $row = $this->callRow('USR_1', 'USR_2', 'ENDED');
        foreach ([$row->id, substr($row->id, 5), "CALL_{$row->id}"] as $spelled) {
            $this->answerWith(200);
            $this->verify($spelled);
            Http::assertSentCount(1);
        }
    }

    public function test_a_scope_of_the_application_hides_no_row_from_a_worker(): void
    {
        $row = $this->callRow('USR_1', 'USR_2', 'ENDED');
        Call::addGlobalScope('tenant', fn ($rows) => $rows->where('caller_id', 'of the tenant of the request'));
        try {
            $this->verify($row->id);
        } finally {
            Call::clearBootedModels();
        }
        $this->assertTold([['call-ended', []]]);
    }

    public function test_what_was_just_committed_is_not_asked_of_a_replica(): void
    {
        $row = $this->callRow('USR_1', 'USR_2');
        $database = config('database.connections.sqlite.database');
        copy($database, "$database.replica");
        config([
            'database.connections.sqlite.read' => ['database' => "$database.replica"],
            'database.connections.sqlite.write' => ['database' => $database],
        ]);
        DB::purge('sqlite');
        $row->forceFill(['status' => 'ENDED'])->saveQuietly();
        self::assertSame('CONNECTING', Call::query()->find($row->id)->status, 'the replica does not lag');
        $job = new TellTransition($this->app->make(CallRows::class)->transition($row));
        $this->app->call([$job, 'handle']);
        $this->assertTold([['call-ended', []]]);
    }

    private function verify(string $callId): void
    {
        event(new CallVerify('msg', new DateTimeImmutable(), CallSnapshot::fromFields(['callId' => $callId])));
    }

    private function answerWith(int $status): void
    {
        Http::swap(new Factory());
        Http::fake(['*' => Http::response(['success' => true, 'emitted' => true, 'error' => 'text'], $status)]);
    }

    private function work(): void
    {
        $this->artisan('queue:work', ['connection' => 'database', '--queue' => 'calls', '--once' => true]);
    }

    /** @param list<array{0: string, 1: array<string, string>}> $expected endpoints, and fields beside the call's id */
    private function assertTold(array $expected): void
    {
        $told = Http::recorded()->map(fn (array $pair) => [
            basename($pair[0]->url()),
            json_decode($pair[0]->body(), true),
        ])->values()->all();
        self::assertCount(count($expected), $told, json_encode($told));
        foreach ($expected as $index => [$endpoint, $body]) {
            self::assertSame($endpoint, $told[$index][0]);
            self::assertStringStartsWith('CALL_', $told[$index][1]['callId']);
            self::assertEquals($body + ['callId' => $told[$index][1]['callId']], $told[$index][1]);
        }
    }
}
