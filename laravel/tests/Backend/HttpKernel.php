<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Auth\Middleware\Authenticate;
use Illuminate\Foundation\Http\Kernel;

final class HttpKernel extends Kernel
{
    /** Laravel up to 9 reads this one, later ones the other. */
    protected $routeMiddleware = ['auth' => Authenticate::class];

    protected $middlewareAliases = ['auth' => Authenticate::class];
}
