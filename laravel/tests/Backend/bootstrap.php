<?php

declare(strict_types=1);

// The Laravel application of the tests. SIGNALING_TEST_FOLDER holds all it reads and writes: .env, database, logs.

use Illuminate\Contracts\Console\Kernel as ConsoleContract;
use Illuminate\Contracts\Debug\ExceptionHandler as HandlerContract;
use Illuminate\Contracts\Http\Kernel as HttpContract;
use Illuminate\Foundation\Application;
use OnlyCare\Signaling\Tests\Backend\ConsoleKernel;
use OnlyCare\Signaling\Tests\Backend\ExceptionHandler;
use OnlyCare\Signaling\Tests\Backend\HttpKernel;

require_once __DIR__ . '/../autoload.php';

$folder = (string) getenv('SIGNALING_TEST_FOLDER');
foreach (['services', 'packages', 'config', 'routes', 'events'] as $name) {
    $variable = 'APP_' . strtoupper($name) . '_CACHE';
    $_SERVER[$variable] = $_ENV[$variable] = "$folder/$name.php";
}

$app = new Application(__DIR__);
$app->useEnvironmentPath($folder);
$app->useStoragePath($folder);
$app->singleton(HttpContract::class, HttpKernel::class);
$app->singleton(ConsoleContract::class, ConsoleKernel::class);
$app->singleton(HandlerContract::class, ExceptionHandler::class);

return $app;
