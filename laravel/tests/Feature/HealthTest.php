<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use Illuminate\Routing\Middleware\ThrottleRequests;
use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Http;
use Illuminate\Support\Facades\Route;
use OnlyCare\Signaling\Tests\TestCase;

/** What signaling:health says of a server that is played. */
final class HealthTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        config(['websocket.url' => 'http://signaling.test', 'websocket.breaker_seconds' => 0]);
    }

    public function test_all_is_well_but_the_webhook_that_does_not_come(): void
    {
        $this->server();
        [$checks, $ok] = $this->health(['--wait' => 1]);
        self::assertSame([
            'server' => 'ok',
            'secret' => 'ok',
            'clock' => 'ok',
            'observer' => 'ok',
            'route' => 'ok',
            'queue' => 'warning',
            'worker' => 'ok',
            'webhooks' => 'failed',
        ], array_map(fn (array $check) => $check['status'], $checks));
        self::assertFalse($ok);
        self::assertStringContainsString('WEBHOOK_SECRET', $checks['webhooks']['detail']);
    }

    public function test_a_quick_one_asks_nobody_to_send_anything(): void
    {
        $this->server();
        [$checks, $ok] = $this->health(['--quick' => true]);
        self::assertTrue($ok);
        self::assertArrayNotHasKey('webhooks', $checks);
        Http::assertNotSent(fn ($request) => str_contains($request->url(), 'call-rejected'));
    }

    public function test_a_missing_queue(): void
    {
        $this->server();
        config(['queue' => []]);
        $this->app->forgetInstance('queue');
        [$checks, $ok] = $this->health();
        self::assertSame([false, 'failed'], [$ok, $checks['queue']['status']]);
        self::assertStringContainsString('config/queue.php', $checks['queue']['detail']);
    }

    public function test_a_queue_without_a_worker(): void
    {
        $this->server();
        config(['websocket.webhook_connection' => 'database', 'websocket.push_queue' => 'push']);
        [$checks, $ok] = $this->health(['--wait' => 1]);
        self::assertSame([false, 'ok', 'failed'], [$ok, $checks['queue']['status'], $checks['worker']['status']]);
        self::assertStringContainsString('queue:work', $checks['worker']['detail']);
        DB::table('jobs')->delete();
    }

    public function test_a_clock_that_is_off(): void
    {
        foreach ([[-60, 'ahead of'], [60, 'behind']] as [$seconds, $where]) {
            Http::swap(new \Illuminate\Http\Client\Factory());
            $this->server($seconds);
            [$checks, $ok] = $this->health(['--quick' => true]);
            self::assertSame([false, 'failed'], [$ok, $checks['clock']['status']]);
            self::assertMatchesRegularExpression("/^(60|59)\\.\\d s $where/", $checks['clock']['detail']);
        }
    }

    public function test_secrets_routes_and_models_that_can_not_work(): void
    {
        $this->server();
        $cases = [
            ['websocket.secret', '', 'secret'],
            ['websocket.webhook_secret', 'whsec_short', 'route'],
            ['websocket.call_model', 'App\\Models\\Cal', 'observer'],
            ['websocket.enabled', false, 'server'],
        ];
        foreach ($cases as [$option, $value, $check]) {
            $was = config($option);
            config([$option => $value]);
            [$checks, $ok] = $this->health(['--quick' => true]);
            self::assertSame([false, 'failed'], [$ok, $checks[$check]['status']], $option);
            config([$option => $was]);
        }
    }

    public function test_a_route_that_holds_webhooks_back(): void
    {
        $this->server();
        Route::getRoutes()->refreshNameLookups();
        Route::getRoutes()->getByName('signaling.webhook')->middleware(ThrottleRequests::class . ':60,1');
        self::assertSame('failed', $this->health(['--quick' => true])[0]['route']['status']);
    }

    public function test_webhooks_that_are_off_are_no_fault(): void
    {
        $this->server();
        config(['websocket.webhook_secret' => null, 'queue' => []]);
        [$checks, $ok] = $this->health();
        self::assertSame([true, 'skipped'], [$ok, $checks['webhooks']['status']]);
    }

    public function test_a_line_of_env_that_a_cached_configuration_does_not_have(): void
    {
        $this->server();
        $cached = $this->app->getCachedConfigPath();
        $env = $this->app->environmentFilePath();
        try {
            file_put_contents($cached, '<?php return [];');
            touch($cached, filemtime($env) - 1);
            [$checks, $ok] = $this->health(['--quick' => true]);
            self::assertSame([true, 'warning'], [$ok, $checks['config']['status'] ?? null]);
            self::assertStringContainsString('config:cache', $checks['config']['detail']);
            touch($cached, filemtime($env));
            self::assertArrayNotHasKey('config', $this->health(['--quick' => true])[0]);
        } finally {
            unlink($cached);
        }
    }

    private function server(int $seconds = 0): void
    {
        Http::fake([
            '*/health' => fn () => Http::response([
                'status' => 'OK',
                'connectedUsers' => 1,
                'activeCalls' => 0,
                'timestamp' => (int) ((microtime(true) + $seconds) * 1000),
            ]),
            '*/call-ended' => Http::response(['error' => 'callId is missing', 'code' => 'invalid_payload'], 400),
            '*' => Http::response(['success' => true, 'emitted' => false, 'reason' => 'Caller not connected']),
        ]);
    }

    /** @return array{0: array<string, array{name: string, status: string, detail: string}>, 1: bool} */
    private function health(array $options = []): array
    {
        $code = Artisan::call('signaling:health', $options + ['--json' => true]);
        $answer = json_decode(Artisan::output(), true, 8, JSON_THROW_ON_ERROR);
        self::assertSame($answer['ok'], $code === 0);

        return [array_column($answer['checks'], null, 'name'), $answer['ok']];
    }
}
