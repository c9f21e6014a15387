<?php

declare(strict_types=1);

// With Composer: vendor/. Without: Debian's packages of Laravel, and this loader for our own classes.

// Laravel 8 on PHP 8.2 uses what PHP 8.2 deprecates.
error_reporting(E_ALL & ~E_DEPRECATED);

$composer = __DIR__ . '/../vendor/autoload.php';
if (is_file($composer)) {
    require $composer;

    return;
}

require_once 'Illuminate/autoload.php';
require_once 'GuzzleHttp/autoload.php';

spl_autoload_register(static function (string $class): void {
    $folders = ['OnlyCare\\Signaling\\Tests\\' => __DIR__, 'OnlyCare\\Signaling\\' => __DIR__ . '/../src'];
    foreach ($folders as $prefix => $folder) {
        if (str_starts_with($class, $prefix)) {
            $file = $folder . '/' . strtr(substr($class, strlen($prefix)), '\\', '/') . '.php';
            if (is_file($file)) {
                require $file;
            }

            return;
        }
    }
});
