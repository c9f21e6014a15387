<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

use DateTimeImmutable;

/** Somebody's presence changed. Best effort: ask for presence where it matters. */
abstract class UserEvent implements SignalingEvent
{
    final public function __construct(
        public readonly string $webhookId,
        public readonly DateTimeImmutable $occurredAt,
        public readonly string $userId,
    ) {
    }
}
