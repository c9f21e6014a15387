<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

/** The REST twins, which tell signaling nothing themselves: the observer does. */
final class ObserverTest extends LiveTestCase
{
    public function test_a_rest_reject_reaches_the_caller(): void
    {
        [$ana, $caller] = $this->connected('ana');
        [$bo, , $token] = $this->connected('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $row);
        self::assertSame(200, $this->rest($token, "calls/{$row->id}/reject")->status());
        self::assertSame($row->id, $caller->expect('call:rejected')['callId']);
    }

    public function test_a_rest_accept_and_end_reach_the_peer(): void
    {
        [$ana, $caller] = $this->connected('ana');
        [$bo, $callee, $token] = $this->connected('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $row);
        $callee->expect('call:incoming');
        $this->rest($token, "calls/{$row->id}/accept");
        self::assertSame($row->id, $caller->expect('call:accepted')['callId']);
        $this->rest($token, "calls/{$row->id}/end", ['duration' => 3]);
        $ended = $caller->expect('call:ended');
        self::assertSame([$row->id, $bo->id], [$ended['callId'], $ended['endedBy']]);
    }

    public function test_a_rest_cancel_reaches_the_callee(): void
    {
        [$ana, $caller, $token] = $this->connected('ana');
        [$bo, $callee] = $this->connected('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $row);
        $callee->expect('call:incoming');
        $this->rest($token, "calls/{$row->id}/cancel");
        self::assertSame('Caller ended call', $callee->expect('call:cancelled')['reason']);
    }
}
