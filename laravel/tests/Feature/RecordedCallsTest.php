<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Support\Facades\Schema;
use Illuminate\Support\ServiceProvider;
use OnlyCare\Signaling\Calls\RecordedCall;
use OnlyCare\Signaling\EndReason;
use OnlyCare\Signaling\SignalingServiceProvider;
use OnlyCare\Signaling\Tests\TestCase;
use OnlyCare\Signaling\Webhooks\HandleWebhook;

/** The table of calls that an application may have the package keep. */
final class RecordedCallsTest extends TestCase
{
    private const BEGAN = [
        'callId' => 'CALL_7', 'callerId' => 'USR_1', 'receiverId' => 'USR_2', 'callType' => 'AUDIO',
        'createdAt' => 1795368390715,
    ];
    private const ACCEPTED = self::BEGAN + ['seq' => 4, 'state' => 'active', 'acceptedAt' => 1795368395000];
    private const ENDED = [
        'seq' => 6, 'state' => 'ended', 'callType' => 'VIDEO', 'endedAt' => 1795368452158, 'durationMs' => 57158,
        'talkMs' => 40000, 'reason' => 'hung_up',
    ] + self::ACCEPTED;

    private object $migration;

    protected function setUp(): void
    {
        parent::setUp();
        config(['websocket.calls_table' => 'kept_calls']);
        $published = ServiceProvider::pathsToPublish(SignalingServiceProvider::class, 'signaling-migrations');
        self::assertStringStartsWith(database_path('migrations'), reset($published));
        $this->migration = require key($published);
        $this->migration->up();
    }

    protected function tearDown(): void
    {
        config(['websocket.calls_table' => 'kept_calls']);
        $this->migration->down();
        self::assertFalse(Schema::hasTable('kept_calls'));
        parent::tearDown();
    }

    public function test_a_call_has_a_row_with_its_parties_times_and_reason(): void
    {
        $this->webhook('call.accepted', self::ACCEPTED);
        $this->webhook('call.ended', self::ENDED);
        $row = $this->row();
        self::assertSame('kept_calls', $row->getTable());
        self::assertSame(
            ['CALL_7', 'USR_1', 'USR_2', 'VIDEO'],
            [$row->call_id, $row->caller_id, $row->receiver_id, $row->call_type],
        );
        self::assertSame([1795368395, 1795368452], [$row->accepted_at->getTimestamp(), $row->ended_at->getTimestamp()]);
        self::assertSame([57, 40], [(int) $row->duration_seconds, (int) $row->talk_seconds]);
        self::assertSame(EndReason::HungUp, $row->reason);
    }

    public function test_a_repeat_and_what_comes_late_change_nothing(): void
    {
        $this->webhook('call.ended', self::ENDED);
        $before = $this->row()->getAttributes();
        $this->webhook('call.ended', self::ENDED);
        $this->webhook('call.accepted', self::ACCEPTED);
        self::assertSame($before, $this->row()->getAttributes());
    }

    public function test_a_call_that_nobody_answered_has_no_accept(): void
    {
        $missed = ['seq' => 3, 'state' => 'ended', 'endedAt' => 1795368420715, 'reason' => 'no_answer'] + self::BEGAN;
        $this->webhook('call.missed', $missed);
        self::assertSame([null, null], [$this->row()->accepted_at, $this->row()->duration_seconds]);
        self::assertSame(EndReason::NoAnswer, $this->row()->reason);
    }

    public function test_an_id_that_is_used_again_is_another_call(): void
    {
        $this->webhook('call.ended', self::ENDED);
        $this->webhook('call.accepted', ['createdAt' => 1795400000000] + self::ACCEPTED);
        self::assertSame(2, RecordedCall::query()->count());
    }

    public function test_nothing_is_kept_unless_asked_for(): void
    {
        $defaults = require __DIR__ . '/../../config/websocket.php';
        self::assertNull($defaults['calls_table']);
        config(['websocket.calls_table' => null]);
        $this->webhook('call.ended', self::ENDED);
        config(['websocket.calls_table' => 'kept_calls']);
        self::assertSame(0, RecordedCall::query()->count());
    }

    private function row(): RecordedCall
    {
        return RecordedCall::query()->sole();
    }

    /** @param array<string, mixed> $data */
    private function webhook(string $type, array $data): void
    {
        $job = new HandleWebhook('msg_1', $type, '2026-11-22T19:13:12Z', $data);
        $job->handle($this->app->make(Dispatcher::class));
    }
}
