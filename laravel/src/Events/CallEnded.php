<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** An accepted call is over: who ended it, why, how long it was. */
final class CallEnded extends CallEvent
{
}
