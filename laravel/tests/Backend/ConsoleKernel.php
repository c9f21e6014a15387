<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Foundation\Console\Kernel;

final class ConsoleKernel extends Kernel
{
}
