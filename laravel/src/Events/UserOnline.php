<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** The user's first device connected. */
final class UserOnline extends UserEvent
{
}
