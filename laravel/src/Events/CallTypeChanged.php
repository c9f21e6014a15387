<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** A call changed its type: the moment at which a rate changes. */
abstract class CallTypeChanged extends CallEvent
{
    /** The type before: `AUDIO` or `VIDEO`. */
    final public function from(): string
    {
        return (string) ($this->call->fields['from'] ?? '');
    }

    /** The type from `at()` on. */
    final public function to(): string
    {
        return (string) ($this->call->fields['to'] ?? '');
    }

    /** Milliseconds since the epoch. */
    final public function at(): int
    {
        return (int) ($this->call->fields['at'] ?? 0);
    }

    /** Who wanted it. */
    final public function by(): string
    {
        return (string) ($this->call->fields['by'] ?? '');
    }
}
