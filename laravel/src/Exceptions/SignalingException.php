<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Exceptions;

use RuntimeException;

/** The signaling server did not do what it was asked. */
abstract class SignalingException extends RuntimeException
{
}
