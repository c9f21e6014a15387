<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

final class UserController
{
    public function me(Request $request): JsonResponse
    {
        return response()->json(['success' => true, 'data' => $request->user()->only('id', 'name', 'gender')]);
    }
}
