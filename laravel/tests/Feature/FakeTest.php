<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use OnlyCare\Signaling\Calls\TransitionKind;
use OnlyCare\Signaling\CallState;
use OnlyCare\Signaling\Exceptions\SignalingUnavailable;
use OnlyCare\Signaling\Facades\Signaling;
use OnlyCare\Signaling\Tests\TestCase;
use OnlyCare\Signaling\WebSocketService;
use PHPUnit\Framework\ExpectationFailedException;

/** What the tests of an application can do without a server. */
final class FakeTest extends TestCase
{
    public function test_a_change_of_a_row_is_told_to_the_fake(): void
    {
        Signaling::fake();
        $row = $this->callRow('USR_1', 'USR_2', 'ONGOING');
        Signaling::assertNothingSent();
        $row->update(['status' => 'ENDED']);
        Signaling::assertTold(TransitionKind::Ended, $row->id);
        Signaling::assertNotTold('CALL_other');
        $this->refuses(fn () => Signaling::assertTold(TransitionKind::Rejected, $row->id));
        $this->refuses(fn () => Signaling::assertNotTold());
        $this->refuses(fn () => Signaling::assertNothingSent());
        $missed = $this->callRow('USR_1', 'USR_2');
        $missed->update(['status' => 'MISSED']);
        Signaling::assertTold(TransitionKind::Missed, $missed->id);
    }

    public function test_rings_are_answered_as_the_test_wants(): void
    {
        $fake = Signaling::fake();
        $ring = fn () => Signaling::ring('CALL_1', 'USR_1', 'Ana', 'USR_2', 'VIDEO');
        Signaling::assertNothingRang();
        self::assertTrue($ring()->ringing);
        Signaling::assertRang('CALL_1', 'USR_2');
        $this->refuses(fn () => Signaling::assertRang('CALL_1', 'USR_3'));
        $this->refuses(fn () => Signaling::assertNothingRang());
        $fake->answersRingsBusy();
        self::assertTrue($ring()->busy);
        $fake->answersRingsNeedsPush();
        self::assertTrue($ring()->needsPush);
        $fake->answersRingsRefused('rate_limited');
        self::assertSame([true, 'rate_limited'], [$ring()->refused(), $ring()->errorCode]);
        $fake->down();
        $this->expectException(SignalingUnavailable::class);
        $ring();
    }

    public function test_presence_calls_events_and_sending_away(): void
    {
        Signaling::fake()->online('USR_1')->knowsCall(['callId' => 'CALL_1', 'state' => 'active']);
        self::assertTrue(Signaling::isUserOnline('USR_1'));
        self::assertFalse(Signaling::isUserOnline('USR_2'));
        self::assertEquals(['USR_1' => true, 'USR_2' => false], Signaling::usersOnline(['USR_1', 'USR_2']));
        self::assertSame(['USR_1'], Signaling::getConnectedUsers());
        self::assertTrue(Signaling::isServerAvailable());
        self::assertSame(CallState::Active, Signaling::callState('CALL_1')->state);
        self::assertNull(Signaling::callState('CALL_2'));
        Signaling::assertNothingSent();
        Signaling::emit('USR_1', 'app:gift', ['coins' => 10]);
        Signaling::assertEmitted('USR_1', 'app:gift');
        Signaling::assertEmitted('USR_1', 'app:gift', ['coins' => 10]);
        $this->refuses(fn () => Signaling::assertEmitted('USR_1', 'app:gift', ['coins' => 11]));
        Signaling::disconnect('USR_1', 'Banned');
        Signaling::assertDisconnected('USR_1');
        $this->refuses(fn () => Signaling::assertDisconnected('USR_2'));
    }

    public function test_a_subclass_made_by_hand_is_faked_too(): void
    {
        Signaling::fake();
        (new class extends WebSocketService {
        })->callEnded('CALL_1');
        Signaling::assertTold(TransitionKind::Ended, 'CALL_1');
    }

    private function refuses(callable $assertion): void
    {
        try {
            $assertion();
        } catch (ExpectationFailedException | \PHPUnit\Framework\AssertionFailedError) {
            return;
        }
        self::fail('the assertion held');
    }
}
