<?php

declare(strict_types=1);

use Illuminate\Support\Facades\Route;
use OnlyCare\Signaling\Tests\Backend\CallController;
use OnlyCare\Signaling\Tests\Backend\UserController;

// What the deployed backend offers, as far as signaling and the phones of the tests use it.

Route::prefix('api/v1')->middleware('auth:api')->group(function (): void {
    Route::get('users/me', [UserController::class, 'me']);
    Route::post('calls/notify-cancelled', [CallController::class, 'notifyCancelled']);
    Route::get('calls/{call}', [CallController::class, 'show']);
    Route::post('calls/{call}/accept', [CallController::class, 'accept']);
    Route::post('calls/{call}/reject', [CallController::class, 'reject']);
    Route::post('calls/{call}/cancel', [CallController::class, 'cancel']);
    Route::post('calls/{call}/end', [CallController::class, 'end']);
});
