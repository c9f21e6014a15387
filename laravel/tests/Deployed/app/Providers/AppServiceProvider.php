<?php

declare(strict_types=1);

namespace App\Providers;

use Illuminate\Support\ServiceProvider;
use Kreait\Firebase\Contract\LoggedMessaging;
use Kreait\Firebase\Contract\Messaging;

final class AppServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->app->bind(Messaging::class, LoggedMessaging::class);
    }

    public function boot(): void
    {
        $this->loadRoutesFrom(base_path('routes/api.php'));
    }
}
