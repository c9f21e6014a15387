<?php

declare(strict_types=1);

// Laravel 8 on PHP 8.2 uses what PHP 8.2 deprecates.
error_reporting(E_ALL & ~E_DEPRECATED);

require_once 'Illuminate/autoload.php';
require_once 'GuzzleHttp/autoload.php';
