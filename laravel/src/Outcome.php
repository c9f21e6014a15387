<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

/** What became of a transition that Laravel reported. */
final class Outcome
{
    private function __construct(
        /** Whether the user to be told has a live connection. */
        public readonly bool $emitted,
        /** Why nothing was emitted. */
        public readonly ?string $reason,
        /** The state the call is in, if the transition was refused. */
        public readonly ?string $state,
    ) {
    }

    /** @param array<string, mixed> $answer */
    public static function fromAnswer(array $answer): self
    {
        return new self(
            (bool) ($answer['emitted'] ?? false),
            isset($answer['reason']) ? (string) $answer['reason'] : null,
            isset($answer['state']) ? (string) $answer['state'] : null,
        );
    }

    /** Whether the call stayed as it was: it had ended, or had gone another way. */
    public function refused(): bool
    {
        return $this->state !== null || $this->reason === 'Call not found';
    }
}
