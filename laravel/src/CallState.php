<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

enum CallState: string
{
    /** Rung, but no device has said so yet. */
    case Trying = 'trying';
    case Ringing = 'ringing';
    case Active = 'active';
    case Ended = 'ended';
}
