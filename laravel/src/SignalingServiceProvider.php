<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

use Illuminate\Foundation\Console\AboutCommand;
use Illuminate\Notifications\ChannelManager;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Notification;
use Illuminate\Support\ServiceProvider;
use OnlyCare\Signaling\Calls\CallRows;
use OnlyCare\Signaling\Calls\CallStatusObserver;
use OnlyCare\Signaling\Calls\RecordCall;
use OnlyCare\Signaling\Calls\VerifyCall;
use OnlyCare\Signaling\Console\CallCommand;
use OnlyCare\Signaling\Console\HealthCommand;
use OnlyCare\Signaling\Console\InstallCommand;
use OnlyCare\Signaling\Console\TestWebhookCommand;
use OnlyCare\Signaling\Events\CallCancelled;
use OnlyCare\Signaling\Events\CallMissed;
use OnlyCare\Signaling\Events\CallPushRequired;
use OnlyCare\Signaling\Events\CallVerify;
use OnlyCare\Signaling\Notifications\SignalingChannel;
use OnlyCare\Signaling\Push\SendCallPush;
use OnlyCare\Signaling\Push\SendCancelledPush;
use OnlyCare\Signaling\Support\Queues;
use OnlyCare\Signaling\Support\RareLog;
use Throwable;

final class SignalingServiceProvider extends ServiceProvider
{
    private const CONFIG = __DIR__ . '/../config/websocket.php';
    private const CALLS_TABLE = '2026_11_01_000000_create_signaling_calls.php';

    public function register(): void
    {
        $this->mergeConfigFrom(self::CONFIG, 'websocket');
        $this->app->singleton(Breaker::class);
        $this->app->singleton(SignalingClient::class);
        $this->app->singleton(WebSocketService::class);
        Notification::resolved(function (ChannelManager $channels): void {
            $channels->extend('signaling', fn ($app) => $app->make(SignalingChannel::class));
        });
    }

    public function boot(): void
    {
        if ((string) config('websocket.webhook_secret') !== '') {
            $this->loadRoutesFrom(__DIR__ . '/../routes/webhooks.php');
            Event::listen(CallPushRequired::class, SendCallPush::class);
            Event::listen([CallCancelled::class, CallMissed::class], SendCancelledPush::class);
            Event::listen(RecordCall::EVENTS, RecordCall::class);
        }
        $this->observe($this->app->make(CallRows::class));
        if ($this->app->runningInConsole()) {
            $this->publishes([self::CONFIG => config_path('websocket.php')], 'signaling-config');
            $migration = __DIR__ . '/../database/migrations/' . self::CALLS_TABLE;
            $this->publishes([$migration => database_path('migrations/' . self::CALLS_TABLE)], 'signaling-migrations');
            $this->commands([
                InstallCommand::class,
                HealthCommand::class,
                CallCommand::class,
                TestWebhookCommand::class,
            ]);
            $this->about();
        }
    }

    /** From Laravel 9 on. */
    private function about(): void
    {
        if (class_exists(AboutCommand::class)) {
            AboutCommand::add('Signaling', fn (): array => [
                'URL' => config('websocket.url'),
                'Switched on' => json_encode(filter_var(config('websocket.enabled'), FILTER_VALIDATE_BOOLEAN)),
                'Observer' => $this->app->make(CallRows::class)->model() ?? 'off',
                'Webhooks' => (string) config('websocket.webhook_secret') === ''
                    ? 'off'
                    : '/' . ltrim((string) config('websocket.webhook_path'), '/'),
                'Queue' => $this->app->make(Queues::class)->name(config('websocket.webhook_connection')) ?? 'none',
            ]);
        }
    }

    /** A model that can't be observed stops neither the application nor an artisan command that would mend it. */
    private function observe(CallRows $rows): void
    {
        try {
            $fault = $rows->fault();
            $model = $rows->model();
            if ($model !== null) {
                $model::observe(CallStatusObserver::class);
                Event::listen(CallVerify::class, VerifyCall::class);
            }
        } catch (Throwable $failure) {
            $fault = "WEBSOCKET_CALL_MODEL can't be observed: {$failure->getMessage()}";
        }
        if ($fault !== null) {
            $this->app->make(RareLog::class)->error("no change of a call is told to signaling: $fault");
        }
    }
}
