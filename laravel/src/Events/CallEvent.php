<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

use DateTimeImmutable;
use OnlyCare\Signaling\CallSnapshot;

/** Something happened to a call. It may come twice, and after a later one: see `call->seq`. */
abstract class CallEvent implements SignalingEvent
{
    final public function __construct(
        /** The same for every delivery of this event. */
        public readonly string $webhookId,
        public readonly DateTimeImmutable $occurredAt,
        public readonly CallSnapshot $call,
    ) {
    }
}
