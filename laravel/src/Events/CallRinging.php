<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** A device of the callee shows its ring screen. */
final class CallRinging extends CallEvent
{
}
