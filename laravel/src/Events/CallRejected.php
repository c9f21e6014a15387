<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** The callee declined. */
final class CallRejected extends CallEvent
{
}
