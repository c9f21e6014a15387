<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

use GuzzleHttp\Promise\PromiseInterface;
use Illuminate\Http\Client\Request;
use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Http;
use OnlyCare\Signaling\CallSnapshot;
use OnlyCare\Signaling\CallState;
use OnlyCare\Signaling\EndReason;
use OnlyCare\Signaling\Tests\Support\Program;
use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Webhooks\HandleWebhook;
use OnlyCare\Signaling\Webhooks\WebhookSignature;

/** The artisan commands, each in a process of its own as an operator runs them. */
final class CommandsTest extends LiveTestCase
{
    public function test_health(): void
    {
        [$output, $code] = Stage::get()->artisan('signaling:health');
        self::assertSame(0, $code, $output);
        foreach (['server', 'secret', 'clock', 'observer', 'route', 'worker', 'webhooks'] as $check) {
            self::assertMatchesRegularExpression("/^$check +ok /m", $output);
        }
    }

    public function test_health_goes_round_through_a_worker(): void
    {
        $this->needsWebhooks();
        $queue = ['QUEUE_CONNECTION' => 'database', 'WEBSOCKET_PUSH_QUEUE' => 'push'];
        [$output, $code] = Stage::get()->artisan('signaling:health --wait=1', $queue);
        self::assertSame(1, $code, $output);
        self::assertMatchesRegularExpression('/^worker +failed +none took a job from \'default\'/m', $output);

        $path = ['PATH' => (string) getenv('PATH'), 'SIGNALING_TEST_FOLDER' => Stage::get()->folder];
        $artisan = [PHP_BINARY, '-d', 'error_reporting=8191', dirname(__DIR__) . '/Backend/artisan'];
        $work = [...$artisan, 'queue:work', 'database', '--queue=default,push', '--sleep=0.05'];
        $worker = new Program('worker', $work, $path, Stage::get()->folder);
        try {
            [$output, $code] = Stage::get()->artisan('signaling:health', $queue);
        } finally {
            $worker->end();
        }
        self::assertSame(0, $code, $output);
        self::assertMatchesRegularExpression('/^queue +ok +\'database\'/m', $output);
        self::assertMatchesRegularExpression('/^webhooks +ok +came back/m', $output);
        // What is only a check is no event of the application's.
        self::assertFalse(DB::table('events')->where('subject', 'like', '%signaling-check%')->exists());
    }

    public function test_health_of_a_server_that_signs_with_another_secret(): void
    {
        $this->needsWebhooks();
        [$address, $server] = Stage::get()->server(['WEBHOOK_SECRET' => 'whsec_' . base64_encode(random_bytes(32))]);
        $log = strlen(Stage::get()->log());
        try {
            [$output, $code] = Stage::get()->artisan('signaling:health --wait=2', ['WEBSOCKET_URL' => $address]);
        } finally {
            $server->end();
        }
        self::assertSame(1, $code, $output);
        self::assertMatchesRegularExpression('/^webhooks +failed .*WEBHOOK_SECRET/m', $output);
        $lines = substr(Stage::get()->log(), $log);
        self::assertSame(1, substr_count($lines, 'WEBSOCKET_WEBHOOK_SECRET differs from WEBHOOK_SECRET'), $lines);
    }

    public function test_health_names_a_secret_that_differs(): void
    {
        [$output, $code] = Stage::get()->artisan('signaling:health', ['WEBSOCKET_SECRET' => 'other']);
        self::assertSame(1, $code, $output);
        self::assertStringContainsString('WEBSOCKET_SECRET differs from LARAVEL_API_SECRET', $output);
    }

    public function test_health_of_a_server_that_is_gone(): void
    {
        [$output, $code] = Stage::get()->artisan('signaling:health', ['WEBSOCKET_URL' => 'http://127.0.0.1:9']);
        self::assertSame(1, $code, $output);
        self::assertStringContainsString('does not answer at http://127.0.0.1:9', $output);
    }

    public function test_a_webhook_for_trial(): void
    {
        $url = Stage::get()->laravel . '/webhooks/signaling';
        [$output, $code] = Stage::get()->artisan("signaling:test-webhook call.missed --call=CALL_trial --url=$url");
        self::assertSame(0, $code, $output);
        self::assertSame(['CallMissed'], $this->eventsOf('CALL_trial', 'CallMissed'));

        $trials = [
            [$url, ['WEBSOCKET_WEBHOOK_SECRET' => 'whsec_' . base64_encode(random_bytes(32))], 401, 'secret'],
            [Stage::get()->laravel . '/elsewhere', [], 404, 'no such route'],
            ['http://127.0.0.1:9', [], null, 'nobody answers'],
        ];
        foreach ($trials as [$to, $environment, $status, $detail]) {
            [$output, $code] = Stage::get()->artisan("signaling:test-webhook --json --url=$to", $environment);
            $answer = json_decode($output, true, 8, JSON_THROW_ON_ERROR);
            self::assertSame([1, false, $status], [$code, $answer['ok'], $answer['status']], $output);
            self::assertStringContainsString($detail, $answer['detail']);
        }
        self::assertSame(1, Stage::get()->artisan('signaling:test-webhook call.ende')[1]);
    }

    public function test_each_trial_is_one_that_listeners_can_read(): void
    {
        $url = Stage::get()->laravel . '/webhooks/signaling';
        Http::fake([$url => fn (Request $request) => $this->take($request)]);
        config(['websocket.webhook_secret' => Stage::WEBHOOK_SECRET]);
        foreach (HandleWebhook::CALL_EVENTS + HandleWebhook::USER_EVENTS as $type => $event) {
            self::assertSame(0, Artisan::call('signaling:test-webhook', ['type' => $type, '--url' => $url]));
        }
        Http::assertSentCount(count(HandleWebhook::CALL_EVENTS) + count(HandleWebhook::USER_EVENTS));
    }

    private function take(Request $request): PromiseInterface
    {
        $signature = new WebhookSignature(Stage::WEBHOOK_SECRET);
        $header = fn (string $name): string => $request->header("webhook-$name")[0];
        $at = $header('timestamp');
        self::assertTrue($signature->accepts($header('id'), $at, $header('signature'), $request->body(), (int) $at));
        ['type' => $type, 'data' => $data] = json_decode($request->body(), true);
        if (str_starts_with($type, 'call.')) {
            $call = CallSnapshot::fromFields($data);
            self::assertInstanceOf(CallState::class, $call->state);
            self::assertNotSame(EndReason::Other, $call->reason);
            self::assertSame($call->state === CallState::Ended, $call->reason !== null && $call->endedAt !== null);
        }

        return Http::response('', 204);
    }

    public function test_a_call(): void
    {
        [$ana, $caller] = $this->connected('ana');
        [$bo] = $this->user('bo');
        $row = $this->callRow($ana->id, $bo->id);
        $this->initiate($caller, $row);
        [$output, $code] = Stage::get()->artisan("signaling:call {$row->id}");
        self::assertSame(0, $code, $output);
        self::assertMatchesRegularExpression("/^callerId +{$ana->id}$/m", $output);
        self::assertMatchesRegularExpression('/created/', $output);
        [$output, $code] = Stage::get()->artisan("signaling:call {$row->id} --json");
        self::assertSame([0, $row->id], [$code, json_decode($output, true, 16, JSON_THROW_ON_ERROR)['callId']]);
        [$output, $code] = Stage::get()->artisan('signaling:call CALL_unknown');
        self::assertSame(1, $code, $output);
    }
}
