<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Notifications;

/** What `toSignaling()` of a notification answers: an event of the application's own, beginning with `app:`. */
final class AppEvent
{
    /** @param array<string, mixed> $data */
    public function __construct(public readonly string $event, public readonly array $data = [])
    {
    }
}
