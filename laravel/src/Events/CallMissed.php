<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** Nobody answered within the ring. */
final class CallMissed extends CallEvent
{
}
