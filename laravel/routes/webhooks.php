<?php

declare(strict_types=1);

use Illuminate\Support\Arr;
use Illuminate\Support\Facades\Route;
use OnlyCare\Signaling\Webhooks\VerifySignature;
use OnlyCare\Signaling\Webhooks\WebhookController;

Route::post((string) config('websocket.webhook_path', 'webhooks/signaling'), WebhookController::class)
    ->middleware([VerifySignature::class, ...Arr::wrap(config('websocket.webhook_middleware'))])
    ->name('signaling.webhook');
