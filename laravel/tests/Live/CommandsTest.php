<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

use Illuminate\Support\Facades\DB;
use OnlyCare\Signaling\Tests\Support\Program;
use OnlyCare\Signaling\Tests\Support\Stage;

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
        [$output, $code] = Stage::get()->artisan('signaling:call CALL_unknown');
        self::assertSame(1, $code, $output);
    }
}
