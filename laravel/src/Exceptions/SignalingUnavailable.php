<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Exceptions;

/** No answer, or one that says "later" (429, 5xx): trying again may help. */
final class SignalingUnavailable extends SignalingException
{
    /** @param bool $skipped it was not even tried: switched off, or known to be down */
    public function __construct(string $message, public readonly bool $skipped = false)
    {
        parent::__construct($message);
    }
}
