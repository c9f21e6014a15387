<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Support\Facades\Event;
use Illuminate\Support\ServiceProvider;
use OnlyCare\Signaling\Events\SignalingEvent;
use OnlyCare\Signaling\Push\SendsCallPush;
use OnlyCare\Signaling\Push\SendsCancelledPush;

final class AppServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->app->bind(SendsCallPush::class, RecordedPush::class);
        $this->app->bind(SendsCancelledPush::class, RecordedPush::class);
    }

    public function boot(): void
    {
        $this->loadRoutesFrom(base_path('routes/api.php'));
        Event::listen(SignalingEvent::class, RecordedEvent::class);
    }
}
