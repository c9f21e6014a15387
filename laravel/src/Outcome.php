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
        /** The state the call is in, if the transition was refused and this package knows it. */
        public readonly ?CallState $state,
        private readonly bool $refused,
    ) {
    }

    /** @param array<string, mixed> $answer */
    public static function fromAnswer(array $answer): self
    {
        return new self(
            (bool) ($answer['emitted'] ?? false),
            isset($answer['reason']) ? (string) $answer['reason'] : null,
            isset($answer['state']) ? CallState::tryFrom((string) $answer['state']) : null,
            isset($answer['state']) || ($answer['reason'] ?? null) === 'Call not found',
        );
    }

    /** Whether the call stayed as it was: it had ended, or had gone another way. */
    public function refused(): bool
    {
        return $this->refused;
    }
}
