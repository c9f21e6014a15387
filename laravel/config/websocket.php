<?php

declare(strict_types=1);

// What an application's own config/websocket.php says wins, option by option: a file from before this package may stay
// as it is. Options are flat for that reason, mergeConfigFrom() does not merge nested ones.

// A line of .env without a value is one that is not there.
$env = static fn (string $name, mixed $default = null): mixed => in_array($value = env($name), [null, ''], true)
    ? $default
    : $value;

return [

    // Any node, or the load balancer before them; without a path.
    'url' => $env('WEBSOCKET_URL', 'http://localhost:3001'),

    // Seconds, of a whole request and of its connection. A request to signaling is part of a request of a phone.
    'timeout' => $env('WEBSOCKET_TIMEOUT', 2),
    'connect_timeout' => $env('WEBSOCKET_CONNECT_TIMEOUT', 1),

    // After three requests in a row without an answer, one in this many seconds is let through; the others fail at
    // once. 0 switches that off. The count is kept in this cache store, the default one if none is named.
    'breaker_seconds' => $env('WEBSOCKET_BREAKER_SECONDS', 5),
    'breaker_store' => $env('WEBSOCKET_BREAKER_STORE'),

    // What phones connect to. For the application's own use.
    'public_url' => $env('WEBSOCKET_PUBLIC_URL'),

    // false: nothing is asked or told, everybody counts as offline.
    'enabled' => $env('WEBSOCKET_ENABLED', true),

    // Equals LARAVEL_API_SECRET of the signaling server.
    'secret' => $env('WEBSOCKET_SECRET'),

    // Transitions: the model whose status changes are told to signaling after commit; null: none.
    'call_model' => $env('WEBSOCKET_CALL_MODEL'),
    // A column that is not named has the name it has here.
    'call_columns' => [
        'id' => 'id',
        'caller' => 'caller_id',
        'receiver' => 'receiver_id',
        'status' => 'status',
        'reason' => null,
    ],
    // status => accepted, rejected, cancelled, missed or ended. A status that is not here is told to nobody.
    'call_statuses' => [
        'ONGOING' => 'accepted',
        'REJECTED' => 'rejected',
        'CANCELLED' => 'cancelled',
        'MISSED' => 'missed',
        'ENDED' => 'ended',
    ],
    // Queue connection that tells again, for 30 s, what could not be told at once; null: it is only logged.
    'transitions_connection' => $env('WEBSOCKET_TRANSITIONS_CONNECTION'),
    'transitions_queue' => $env('WEBSOCKET_TRANSITIONS_QUEUE'),

    // Webhooks: equals WEBHOOK_SECRET of the signaling server, comma list of two while rotating; null: no route.
    'webhook_secret' => $env('WEBSOCKET_WEBHOOK_SECRET'),
    'webhook_path' => $env('WEBSOCKET_WEBHOOK_PATH', 'webhooks/signaling'),
    // Beside the signature. Not `web` (CSRF), not `throttle`.
    'webhook_middleware' => [],
    // Seconds that the sender's clock may differ.
    'webhook_tolerance' => 300,
    // true: an event that was taken is not taken again, as far as the cache store remembers.
    'webhook_dedupe' => $env('WEBSOCKET_WEBHOOK_DEDUPE', false),
    'webhook_dedupe_store' => $env('WEBSOCKET_WEBHOOK_DEDUPE_STORE'),
    // Where the events are handled; null: the application's default connection and queue.
    'webhook_connection' => $env('WEBSOCKET_WEBHOOK_CONNECTION'),
    'webhook_queue' => $env('WEBSOCKET_WEBHOOK_QUEUE'),
    // A queue of its own for what wakes or silences a phone: it can't wait behind others.
    'push_queue' => $env('WEBSOCKET_PUSH_QUEUE'),
    // Seconds after the call began after which no push is sent any more: the app ignores older ones.
    'push_max_age' => 20,
    // A table with a row for each call that was accepted or is over; null: none is kept. First publish its migration.
    'calls_table' => $env('WEBSOCKET_CALLS_TABLE'),

];
