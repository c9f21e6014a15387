<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

use OnlyCare\Signaling\CallState;
use OnlyCare\Signaling\Exceptions\SignalingRefused;

/** What Laravel says of a call, phones hear. */
final class TransitionsTest extends LiveTestCase
{
    public function test_health(): void
    {
        self::assertTrue($this->signaling->isServerAvailable());
        self::assertIsInt($this->signaling->getHealthStatus()['activeCalls']);
    }

    public function test_accepted_and_ended(): void
    {
        [$ana, $caller] = $this->connected('ana');
        [$bo, $callee] = $this->connected('bo');
        $row = $this->callRow($ana->id, $bo->id);
        self::assertTrue($this->initiate($caller, $row)['success']);
        self::assertSame($row->id, $callee->expect('call:incoming')['callId']);

        $accepted = $this->signaling->callAccepted($row->id, $ana->id, $bo->id);
        self::assertTrue($accepted->emitted && !$accepted->refused());
        self::assertSame($bo->id, $caller->expect('call:accepted')['receiverId']);

        self::assertTrue($this->signaling->callEnded($row->id, $ana->id)->emitted);
        $ended = $callee->expect('call:ended');
        self::assertSame([$row->id, $ana->id], [$ended['callId'], $ended['endedBy']]);

        $late = $this->signaling->callAccepted($row->id, $ana->id, $bo->id);
        self::assertSame([false, CallState::Ended, true], [$late->emitted, $late->state, $late->refused()]);
    }

    public function test_rejected_and_cancelled_with_their_reasons(): void
    {
        [$ana, $caller] = $this->connected('ana');
        [$bo, $callee] = $this->connected('bo');
        $first = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $first);
        $this->signaling->callRejected($first->id, $ana->id, $bo->id, 'In a meeting');
        self::assertSame('In a meeting', $caller->expect('call:rejected')['reason']);

        $second = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $second);
        $this->signaling->callCancelled($second->id, $bo->id, 'Wrong number');
        do {
            $cancelled = $callee->expect('call:cancelled');
        } while ($cancelled['callId'] !== $second->id);
        self::assertSame('Wrong number', $cancelled['reason']);
    }

    public function test_nobody_there(): void
    {
        [$ana] = $this->user('ana');
        [$bo] = $this->user('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $outcome = $this->signaling->callAccepted($row->id, $ana->id, $bo->id);
        self::assertFalse($outcome->emitted || $outcome->refused());
        self::assertSame('Caller not connected', $outcome->reason);
        self::assertTrue($this->signaling->callEnded('CALL_unknown')->refused());
    }

    public function test_another_secret_is_refused(): void
    {
        config(['websocket.secret' => 'other']);
        $this->expectException(SignalingRefused::class);
        $this->expectExceptionMessage('WEBSOCKET_SECRET differs');
        $this->signaling->callEnded('CALL_1');
    }
}
