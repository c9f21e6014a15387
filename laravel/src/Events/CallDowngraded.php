<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** It is an audio call from now on. */
final class CallDowngraded extends CallTypeChanged
{
}
