<?php

declare(strict_types=1);

namespace App\Http;

use Illuminate\Auth\Middleware\Authenticate;
use Illuminate\Foundation\Http\Kernel as HttpKernel;

final class Kernel extends HttpKernel
{
    /** Laravel up to 9 reads this one, later ones the other. */
    protected $routeMiddleware = ['auth' => Authenticate::class];

    protected $middlewareAliases = ['auth' => Authenticate::class];
}
