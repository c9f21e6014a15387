<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** The callee accepted. */
final class CallAccepted extends CallEvent
{
}
