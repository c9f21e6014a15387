<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use Illuminate\Http\Client\Factory;
use Illuminate\Http\Client\Request;
use Illuminate\Support\Facades\Http;
use InvalidArgumentException;
use OnlyCare\Signaling\Exceptions\SignalingRefused;
use OnlyCare\Signaling\Exceptions\SignalingUnavailable;
use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Tests\TestCase;
use OnlyCare\Signaling\WebSocketService;
use PHPUnit\Framework\Attributes\DataProvider;
use ReflectionMethod;
use RuntimeException;

final class WebSocketServiceTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        config(['websocket.breaker_store' => 'array', 'websocket.url' => 'http://signaling.test']);
    }

    public function test_an_applications_own_configuration_wins_and_the_rest_is_added(): void
    {
        self::assertSame('https://signaling.example.com', config('websocket.public_url'));
        self::assertSame(1, config('websocket.connect_timeout'));
        self::assertSame('webhooks/signaling', config('websocket.webhook_path'));
    }

    public function test_a_blank_line_of_env_means_the_default(): void
    {
        $file = dirname(__DIR__, 2) . '/config/websocket.php';
        preg_match_all('/\bWEBSOCKET_\w+/', file_get_contents($file), $names);
        self::assertGreaterThan(15, count($names[0]));
        $before = array_intersect_key($_SERVER, array_flip($names[0]));
        $read = function (?string $value) use ($names, $file): array {
            foreach ($names[0] as $name) {
                $this->set($name, $value);
            }

            return require $file;
        };
        try {
            [$absent, $blank] = [$read(null), $read('')];
        } finally {
            $read(null);
            array_map($this->set(...), array_keys($before), $before);
        }
        self::assertSame($absent, $blank);
        self::assertSame([2, 1, 5, true], [
            $absent['timeout'], $absent['connect_timeout'], $absent['breaker_seconds'], $absent['enabled'],
        ]);
    }

    private function set(string $name, ?string $value): void
    {
        unset($_SERVER[$name], $_ENV[$name]);
        if ($value !== null) {
            $_SERVER[$name] = $_ENV[$name] = $value;
        }
        putenv($value === null ? $name : "$name=$value");
    }

    /** @dataProvider unbounded */
    #[DataProvider('unbounded')]
    public function test_no_configuration_waits_without_a_limit(mixed $seconds): void
    {
        config(['websocket.timeout' => $seconds, 'websocket.connect_timeout' => $seconds]);
        $used = [];
        Http::fake(function (Request $request, array $options) use (&$used) {
            $used = [$options['timeout'], $options['connect_timeout']];

            return Http::response(['status' => 'OK']);
        });
        self::assertTrue((new WebSocketService())->isServerAvailable());
        self::assertSame([2.0, 1.0], $used);
    }

    /** @return array<string, array{0: mixed}> an application's own config/websocket.php may say it */
    public static function unbounded(): array
    {
        return ['blank' => [''], 'null' => [null], 'zero' => ['0'], 'none at all' => [0]];
    }

    public function test_the_deployed_methods_keep_their_signatures(): void
    {
        $service = new WebSocketService();
        $types = [
            'isUserOnline' => 'bool',
            'getConnectedUsers' => 'array',
            'getHealthStatus' => '?array',
            'isServerAvailable' => 'bool',
        ];
        foreach ($types as $name => $type) {
            self::assertSame($type, (string) (new ReflectionMethod($service, $name))->getReturnType(), $name);
        }
        Http::fake([
            'signaling.test/api/users/USR_1/online' => Http::response(['isOnline' => true, 'socketId' => 'x']),
            'signaling.test/api/connected-users' => Http::response(['count' => 1, 'users' => ['USR_1']]),
            'signaling.test/health' => Http::response(['status' => 'OK', 'connectedUsers' => 1]),
        ]);
        self::assertTrue($service->isUserOnline('USR_1'));
        self::assertSame(['USR_1'], $service->getConnectedUsers());
        self::assertSame(1, $service->getHealthStatus()['connectedUsers']);
        self::assertTrue($service->isServerAvailable());
    }

    /** @dataProvider nonsense */
    #[DataProvider('nonsense')]
    public function test_the_deployed_methods_never_throw(int $status, string $body): void
    {
        Http::fake(['*' => Http::response($body, $status)]);
        $service = new WebSocketService();
        self::assertFalse($service->isUserOnline('USR_1'));
        self::assertSame([], $service->getConnectedUsers());
        self::assertFalse($service->isServerAvailable());
    }

    /** @return array<string, array{0: int, 1: string}> */
    public static function nonsense(): array
    {
        return [
            'a page' => [200, '<html>'],
            'a text' => [200, '"OK"'],
            'nothing' => [200, ''],
            'other types' => [200, '{"users": 3, "isOnline": "yes", "status": []}'],
            'an error' => [500, '{"error": "Server error", "code": "internal"}'],
            'a redirect' => [302, ''],
            'refused' => [401, '{"error": "Unauthorized", "code": "unauthorized"}'],
        ];
    }

    public function test_requests_carry_the_secret_and_leave_out_what_is_null(): void
    {
        Http::fake(['*' => Http::response(['success' => true, 'emitted' => true])]);
        self::assertTrue((new WebSocketService())->callRejected('CALL_1', 'USR_1', 'USR_2')->emitted);
        $body = '{"callId":"CALL_1","callerId":"USR_1","receiverId":"USR_2"}';
        Http::assertSent(fn (Request $request) => $request->url() === 'http://signaling.test/api/emit/call-rejected'
            && $request->header('X-Internal-Secret') === [Stage::SECRET]
            && $request->body() === $body);
    }

    public function test_a_caller_without_a_name_rings(): void
    {
        Http::fake(['*' => Http::response(['success' => true])]);
        self::assertTrue((new WebSocketService())->ring('CALL_1', 'USR_1', null, 'USR_2', 'VIDEO')->ringing);
        Http::assertSent(fn (Request $request) => !array_key_exists('callerName', json_decode($request->body(), true)));
    }

    public function test_a_text_that_is_no_utf8_is_told_and_is_no_outage(): void
    {
        Http::fake(['*' => Http::response(['success' => true, 'emitted' => true])]);
        foreach (range(1, 4) as $_) {
            self::assertTrue((new WebSocketService())->callRejected('CALL_1', 'USR_1', 'USR_2', "caf\xe9")->emitted);
        }
        Http::assertSent(fn (Request $request) => json_decode($request->body(), true)['reason'] === "caf\u{fffd}");
    }

    public function test_presence_is_asked_in_requests_of_a_thousand(): void
    {
        Http::fake(fn (Request $request) => Http::response([
            'users' => array_fill_keys(json_decode($request->body(), true)['userIds'], true),
        ]));
        $ids = array_map(fn (int $n) => "USR_$n", range(1, 1001));
        $online = (new WebSocketService())->usersOnline([...$ids, 'USR_1']);
        self::assertSame($ids, array_keys($online));
        Http::assertSentCount(2);
        self::assertSame([], (new WebSocketService())->usersOnline([]));
    }

    public function test_a_ring_is_answered_like_a_phones(): void
    {
        Http::fakeSequence('*')
            ->push(['success' => true, 'callId' => 'CALL_1', 'message' => 'Call initiated successfully'])
            ->push(['success' => false, 'error' => 'User offline - FCM notification sent', 'useFcmFallback' => true])
            ->push(['success' => false, 'error' => 'User is busy', 'busy' => true])
            ->push(['success' => false, 'error' => 'Call is ended', 'code' => 'invalid_state'], 409)
            ->push(['error' => 'receiverId is missing', 'code' => 'invalid_payload'], 400);
        $media = ['channelName' => 'c', 'agoraToken' => 't'];
        $ring = fn () => (new WebSocketService())->ring('CALL_1', 'USR_1', 'Ana', 'USR_2', 'VIDEO', $media, 20000);
        self::assertTrue($ring()->ringing);
        $offline = $ring();
        self::assertTrue($offline->needsPush && !$offline->ringing);
        self::assertTrue($ring()->busy);
        self::assertSame('invalid_state', $ring()->errorCode);
        Http::assertSent(fn (Request $request) => json_decode($request->body(), true) === [
            'callId' => 'CALL_1',
            'callerId' => 'USR_1',
            'callerName' => 'Ana',
            'receiverId' => 'USR_2',
            'callType' => 'VIDEO',
            'ringTimeoutMs' => 20000,
            'channelName' => 'c',
            'agoraToken' => 't',
        ]);
        $this->expectException(SignalingRefused::class);
        $ring();
    }

    public function test_events_of_the_application_have_its_prefix_and_an_object(): void
    {
        Http::fake(['*' => Http::response(['success' => true, 'emitted' => false])]);
        self::assertFalse((new WebSocketService())->emit('USR_1', 'app:refresh'));
        Http::assertSent(fn (Request $request) => $request->body() === '{"event":"app:refresh","data":{}}');
        $this->expectException(InvalidArgumentException::class);
        (new WebSocketService())->emit('USR_1', 'call:incoming');
    }

    public function test_an_unknown_call_is_null_and_a_missing_endpoint_is_not(): void
    {
        Http::fakeSequence('*')
            ->push(['error' => 'Call not found', 'code' => 'call_not_found'], 404)
            ->push(['error' => 'Not found', 'code' => 'not_found'], 404);
        self::assertNull((new WebSocketService())->callState('CALL_1'));
        $this->expectException(SignalingRefused::class);
        (new WebSocketService())->callState('CALL_1');
    }

    public function test_failures_say_whether_to_try_again(): void
    {
        $retryable = [400 => false, 401 => false, 404 => false, 302 => false, 429 => true, 500 => true, 503 => true];
        foreach ($retryable as $status => $again) {
            Http::swap(new Factory());
            Http::fake(['*' => Http::response(['error' => 'text', 'code' => 'code'], $status)]);
            try {
                (new WebSocketService())->callEnded('CALL_1');
                self::fail("$status was taken for an answer");
            } catch (SignalingUnavailable | SignalingRefused $failure) {
                self::assertSame($again, $failure instanceof SignalingUnavailable, "$status");
            }
        }
    }

    public function test_switched_off_it_asks_nothing(): void
    {
        config(['websocket.enabled' => 'false']);
        Http::fake();
        self::assertFalse((new WebSocketService())->isUserOnline('USR_1'));
        try {
            (new WebSocketService())->callEnded('CALL_1');
            self::fail('it was told');
        } catch (SignalingUnavailable $failure) {
            self::assertTrue($failure->skipped);
        }
        Http::assertNothingSent();
    }

    public function test_a_server_that_hangs_costs_the_timeout_and_then_nothing(): void
    {
        // Connections are taken by the kernel, and nobody ever answers.
        $deaf = stream_socket_server('tcp://127.0.0.1:0');
        config(['websocket.url' => 'http://' . stream_socket_get_name($deaf, false), 'websocket.timeout' => '0.2']);
        $service = new WebSocketService();
        $started = microtime(true);
        foreach (range(1, 20) as $_) {
            self::assertFalse($service->isServerAvailable());
        }
        self::assertLessThan(20 * 0.2, microtime(true) - $started);
        for ($tried = 0; @stream_socket_accept($deaf, 0) !== false; $tried++) {
        }
        self::assertSame(3, $tried);
        fclose($deaf);
    }

    public function test_a_server_that_is_back_is_used_after_the_next_probe(): void
    {
        $down = fn () => throw new RuntimeException('down');
        $up = fn () => Http::response(['status' => 'OK']);
        $answer = $down;
        Http::fake(function () use (&$answer) {
            return $answer();
        });
        $service = new WebSocketService();
        foreach (range(1, 3) as $_) {
            self::assertFalse($service->isServerAvailable());
        }
        $answer = $up;
        self::assertFalse($service->isServerAvailable(), 'it is not asked yet');
        $this->travel(6)->seconds();
        self::assertTrue($service->isServerAvailable());
        self::assertTrue($service->isServerAvailable());
    }

    public function test_the_secret_is_in_no_message(): void
    {
        config(['websocket.url' => 'http://127.0.0.1:9']);
        try {
            (new WebSocketService())->callEnded('CALL_1');
            self::fail('somebody answered');
        } catch (SignalingUnavailable $failure) {
            self::assertStringNotContainsString(Stage::SECRET, (string) $failure);
            self::assertNull($failure->getPrevious());
        }
        (new WebSocketService())->isServerAvailable();
        $log = (string) file_get_contents(storage_path('laravel.log'));
        self::assertStringContainsString('signaling did not answer GET /health', $log);
        self::assertStringNotContainsString(Stage::SECRET, $log);
    }
}
