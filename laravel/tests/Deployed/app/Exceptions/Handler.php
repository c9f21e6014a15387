<?php

declare(strict_types=1);

namespace App\Exceptions;

use Illuminate\Auth\AuthenticationException;
use Illuminate\Foundation\Exceptions\Handler as ExceptionHandler;
use Symfony\Component\HttpFoundation\Response;

final class Handler extends ExceptionHandler
{
    protected function unauthenticated($request, AuthenticationException $exception): Response
    {
        $error = ['code' => 'UNAUTHENTICATED', 'message' => 'No valid token'];

        return response()->json(['success' => false, 'error' => $error], 401);
    }
}
