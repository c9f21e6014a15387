<?php

declare(strict_types=1);

// As an application has it that was there before the package: its options, and none of the package's.

return [
    'url' => env('WEBSOCKET_URL', 'http://localhost:3001'),
    'timeout' => env('WEBSOCKET_TIMEOUT', 2),
    'public_url' => env('WEBSOCKET_PUBLIC_URL', 'https://signaling.example.com'),
    'enabled' => env('WEBSOCKET_ENABLED', true),
    'secret' => env('WEBSOCKET_SECRET', 'change-me'),
];
