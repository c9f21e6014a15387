<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

use Illuminate\Http\Client\Response;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Http;
use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Webhooks\WebhookSignature;

/** What the server sends arrives as Laravel events. */
final class WebhooksTest extends LiveTestCase
{
    public function test_a_callee_without_a_device_is_woken_by_push(): void
    {
        $this->needsWebhooks();
        [$ana, $caller] = $this->connected('ana');
        [$bo] = $this->user('bo');
        $row = $this->callRow($ana->id, $bo->id);
        self::assertTrue($this->initiate($caller, $row)['useFcmFallback']);
        $this->eventsOf($row->id, 'CallPushRequired');
        $pushes = DB::table('pushes')->where('call_id', $row->id)->get();
        self::assertCount(1, $pushes);
        $data = json_decode($pushes[0]->data, true);
        self::assertSame(['fcm-token-of-bo', $row->channel_name], [$pushes[0]->token, $data['channelId']]);
    }

    public function test_the_life_of_a_call(): void
    {
        $this->needsWebhooks();
        [$ana, $caller] = $this->connected('ana');
        [$bo, $callee] = $this->connected('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $row);
        $callee->expect('call:incoming');
        $callee->call('call:ringing', ['callId' => $row->id]);
        $callee->call('call:accept', ['callId' => $row->id]);
        $caller->expect('call:accepted');
        $caller->call('call:end', ['callId' => $row->id]);
        $events = $this->eventsOf($row->id, 'CallEnded');
        // Phones that promise no acknowledgements are woken by push as well.
        $events = array_values(array_diff($events, ['CallPushRequired']));
        self::assertSame(['CallInitiated', 'CallRinging', 'CallAccepted', 'CallEnded'], $events);
        $fields = DB::table('events')->where(['subject' => $row->id, 'type' => 'CallEnded'])->value('fields');
        $ended = json_decode($fields, true);
        self::assertSame(['ended', 'hung_up', $ana->id], [$ended['state'], $ended['reason'], $ended['endedBy']]);
        self::assertSame($ended['durationMs'], $ended['endedAt'] - $ended['acceptedAt']);
        self::assertSame($ended['durationMs'], $ended['talkMs']);
    }

    public function test_rejected_and_cancelled(): void
    {
        $this->needsWebhooks();
        [$ana, $caller] = $this->connected('ana');
        [$bo, $callee] = $this->connected('bo');
        $first = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $first);
        $callee->expect('call:incoming');
        $callee->call('call:reject', ['callId' => $first->id]);
        $this->eventsOf($first->id, 'CallRejected');
        $second = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $second);
        $caller->call('call:cancel', ['callId' => $second->id]);
        self::assertContains('CallCancelled', $this->eventsOf($second->id, 'CallCancelled'));
    }

    public function test_a_forged_one_is_refused_by_the_route(): void
    {
        $other = 'whsec_' . base64_encode(random_bytes(32));
        self::assertSame(401, $this->deliver('call.ended', 'CALL_forged', secret: $other)->status());
        self::assertSame(204, $this->deliver('call.ended', 'CALL_signed')->status());
        $this->eventsOf('CALL_signed', 'CallEnded');
        self::assertFalse(DB::table('events')->where('subject', 'CALL_forged')->exists());
    }

    public function test_a_push_request_reaches_the_sender_once(): void
    {
        $row = $this->callRow($this->user('ana')[0]->id, $this->user('bo')[0]->id);
        $now = (int) (microtime(true) * 1000);
        foreach (range(1, 2) as $_) {
            $times = ['createdAt' => $now, 'expiresAt' => $now + 30_000];
            self::assertSame(204, $this->deliver('call.push_required', $row->id, $times)->status());
        }
        self::assertSame(['fcm-token-of-bo'], DB::table('pushes')->where('call_id', $row->id)->pluck('token')->all());
    }

    /** A webhook as the server sends it. */
    private function deliver(
        string $type,
        string $callId,
        array $fields = [],
        string $secret = Stage::WEBHOOK_SECRET,
    ): Response {
        $data = ['callId' => $callId, 'seq' => 1] + $fields;
        $webhook = ['type' => $type, 'timestamp' => date(DATE_ATOM), 'data' => $data];
        $body = json_encode($webhook, JSON_THROW_ON_ERROR);
        $at = (string) time();

        return Http::withBody($body, 'application/json')->withHeaders([
            'webhook-id' => "msg_$callId",
            'webhook-timestamp' => $at,
            'webhook-signature' => (new WebhookSignature($secret))->sign("msg_$callId", $at, $body),
        ])->post(Stage::get()->laravel . '/webhooks/signaling');
    }
}
