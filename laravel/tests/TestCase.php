<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests;

use Illuminate\Contracts\Console\Kernel;
use Illuminate\Foundation\Application;
use Illuminate\Foundation\Testing\TestCase as LaravelTestCase;
use Illuminate\Log\Events\MessageLogged;
use Illuminate\Support\Facades\Cache;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Schema as Builder;
use Illuminate\Support\Str;
use OnlyCare\Signaling\Tests\Backend\Call;
use OnlyCare\Signaling\Tests\Backend\Schema;
use OnlyCare\Signaling\Tests\Backend\User;
use OnlyCare\Signaling\Tests\Support\Stage;

/** A test inside the Laravel application of tests/Backend. */
abstract class TestCase extends LaravelTestCase
{
    public function createApplication(): Application
    {
        Stage::get();
        $app = require __DIR__ . '/Backend/bootstrap.php';
        $app->make(Kernel::class)->bootstrap();

        return $app;
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->withoutMockingConsoleOutput();
        if (!Builder::hasTable('calls')) {
            Schema::create();
        }
    }

    protected function tearDown(): void
    {
        $version = $this->app->version();
        parent::tearDown();
        // Each application sets its handlers; before Laravel 11 none takes them back.
        if (version_compare($version, '11', '<')) {
            restore_error_handler();
            restore_exception_handler();
        }
    }

    /** What is logged from now on. */
    protected function logged(): object
    {
        Cache::flush();
        $log = new class {
            /** @var list<array{level: string, message: string, context: array<string, mixed>}> */
            public array $lines = [];
        };
        Event::listen(MessageLogged::class, function (MessageLogged $line) use ($log): void {
            $log->lines[] = ['level' => $line->level, 'message' => $line->message, 'context' => $line->context];
        });

        return $log;
    }

    /** @return array{0: User, 1: string} the user and his bearer token */
    protected function user(string $name): array
    {
        $token = Str::random(40);
        $user = User::query()->create([
            'id' => 'USR_' . random_int(1, PHP_INT_MAX),
            'name' => $name,
            'gender' => 'FEMALE',
            'profile_image' => "https://img.example.com/$name.jpg",
            'fcm_token' => "fcm-token-of-$name",
            'api_token' => hash('sha256', $token),
        ]);

        return [$user, $token];
    }

    protected function callRow(string $caller, string $receiver, string $status = 'CONNECTING'): Call
    {
        $id = 'CALL_' . random_int(1, PHP_INT_MAX);

        return Call::query()->create([
            'id' => $id,
            'caller_id' => $caller,
            'receiver_id' => $receiver,
            'call_type' => 'VIDEO',
            'status' => $status,
            'channel_name' => "call_$id",
            'agora_token' => '006abc',
        ]);
    }
}
