<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Exceptions;

/** The server said no: trying the same again is of no use. */
final class SignalingRefused extends SignalingException
{
    /** @param array<string, mixed> $answer */
    public function __construct(
        string $message,
        public readonly int $status,
        public readonly ?string $errorCode,
        public readonly array $answer = [],
    ) {
        parent::__construct($message);
    }
}
