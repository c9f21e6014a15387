<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** It is a video call from now on: the moment at which a rate changes. */
final class CallUpgraded extends CallEvent
{
    /** The type before: `AUDIO` or `VIDEO`. */
    public function from(): string
    {
        return (string) ($this->call->fields['from'] ?? '');
    }

    /** The type from `at()` on. */
    public function to(): string
    {
        return (string) ($this->call->fields['to'] ?? '');
    }

    /** Milliseconds since the epoch. */
    public function at(): int
    {
        return (int) ($this->call->fields['at'] ?? 0);
    }

    /** Who wanted it. */
    public function by(): string
    {
        return (string) ($this->call->fields['by'] ?? '');
    }
}
