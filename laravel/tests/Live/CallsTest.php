<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

use OnlyCare\Signaling\CallState;
use OnlyCare\Signaling\EndReason;

/** What Laravel asks of the server beyond transitions. */
final class CallsTest extends LiveTestCase
{
    private const MEDIA = ['channelName' => 'channel', 'agoraToken' => ''];

    public function test_laravel_rings_a_phone(): void
    {
        [$ana] = $this->user('ana');
        [$bo, $callee] = $this->connected('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $ring = $this->signaling->ring($row->id, $ana->id, 'Ana', $bo->id, 'VIDEO', [
            'channelName' => $row->channel_name,
            'agoraToken' => $row->agora_token,
            'balanceTime' => '12:30',
        ]);
        self::assertTrue($ring->ringing, json_encode($ring->answer));
        $incoming = $callee->expect('call:incoming');
        self::assertSame('Ana', $incoming['callerName']);
        self::assertSame($row->channel_name, $incoming['channelName']);
        self::assertSame('12:30', $incoming['balanceTime']);

        [$eve] = $this->user('eve');
        $second = $this->callRow($eve->id, $bo->id);
        $busy = $this->signaling->ring($second->id, $eve->id, 'Eve', $bo->id, 'AUDIO', self::MEDIA);
        self::assertSame([true, false, false], [$busy->busy, $busy->ringing, $busy->refused()]);
    }

    public function test_a_ring_that_is_refused_says_why(): void
    {
        [$ana] = $this->user('ana');
        [$bo] = $this->connected('bo');
        $row = $this->callRow($ana->id, $bo->id);
        self::assertFalse($this->signaling->ring($row->id, $ana->id, 'Ana', $bo->id, 'VIDEO', self::MEDIA)->refused());
        $this->signaling->callCancelled($row->id, $bo->id);
        $over = $this->signaling->ring($row->id, $ana->id, 'Ana', $bo->id, 'VIDEO', self::MEDIA);
        self::assertSame([true, 'invalid_state'], [$over->refused(), $over->errorCode], json_encode($over->answer));
        self::assertNotNull($over->error);
    }

    public function test_a_ring_of_somebody_without_a_device_needs_a_push(): void
    {
        [$ana] = $this->user('ana');
        [$bo] = $this->user('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $ring = $this->signaling->ring($row->id, $ana->id, 'Ana', $bo->id, 'VIDEO', self::MEDIA);
        self::assertTrue($ring->needsPush && !$ring->ringing && !$ring->refused(), json_encode($ring->answer));
    }

    public function test_the_state_of_a_call_and_its_timeline(): void
    {
        [$ana, $caller] = $this->connected('ana');
        [$bo] = $this->connected('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $row);
        $this->signaling->callRejected($row->id, $ana->id, $bo->id);
        foreach ([$row->id, substr($row->id, 5)] as $id) {
            $call = $this->signaling->callState($id);
            self::assertSame([CallState::Ended, EndReason::Rejected], [$call->state, $call->reason]);
            self::assertSame('VIDEO', $call->callType);
            self::assertSame([$ana->id, $bo->id], [$call->callerId, $call->receiverId]);
            self::assertNotSame([], $call->timeline);
        }
        self::assertNull($this->signaling->callState('CALL_unknown'));
    }

    public function test_presence_of_many(): void
    {
        [$ana] = $this->connected('ana');
        $online = $this->signaling->usersOnline([$ana->id, 'USR_nobody']);
        self::assertEquals([$ana->id => true, 'USR_nobody' => false], $online);
    }

    public function test_an_event_of_the_application(): void
    {
        [$ana, $phone] = $this->connected('ana');
        self::assertTrue($this->signaling->emit($ana->id, 'app:gift', ['coins' => 10]));
        self::assertSame(['coins' => 10], $phone->expect('app:gift'));
        self::assertFalse($this->signaling->emit('USR_nobody', 'app:gift'));
    }

    public function test_a_banned_user_is_disconnected(): void
    {
        [$ana, $phone, $token] = $this->connected('ana');
        $ana->update(['api_token' => 'revoked']);
        $this->signaling->disconnect($ana->id, 'Banned');
        $phone->expect('(disconnect)');
        self::assertFalse($this->signaling->isUserOnline($ana->id));
        self::assertSame('Invalid token', $this->phone($ana->id, $token)->refusal);
    }
}
