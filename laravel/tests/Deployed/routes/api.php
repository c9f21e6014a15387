<?php

declare(strict_types=1);

use App\Http\Controllers\CallController;
use Illuminate\Routing\Middleware\SubstituteBindings;
use Illuminate\Support\Facades\Route;

Route::prefix('api/v1')->middleware(['auth:api', SubstituteBindings::class])->group(function (): void {
    Route::get('users/me', [CallController::class, 'me']);
    Route::get('users/{user}/online', [CallController::class, 'online']);
    Route::post('calls', [CallController::class, 'initiateCall']);
    Route::get('calls/{call}', [CallController::class, 'show']);
    Route::post('calls/{call}/accept', [CallController::class, 'acceptCall']);
    Route::post('calls/{call}/reject', [CallController::class, 'rejectCall']);
    Route::post('calls/{call}/cancel', [CallController::class, 'cancelCall']);
    Route::post('calls/{call}/end', [CallController::class, 'endCall']);
});
