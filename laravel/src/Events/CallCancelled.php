<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** The caller gave up, or went away, before it was accepted. */
final class CallCancelled extends CallEvent
{
}
