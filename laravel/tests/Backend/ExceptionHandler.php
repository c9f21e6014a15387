<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Auth\AuthenticationException;
use Illuminate\Foundation\Exceptions\Handler;
use Symfony\Component\HttpFoundation\Response;

final class ExceptionHandler extends Handler
{
    protected function unauthenticated($request, AuthenticationException $exception): Response
    {
        $error = ['code' => 'UNAUTHENTICATED', 'message' => 'No valid token'];

        return response()->json(['success' => false, 'error' => $error], 401);
    }
}
