<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** The user's last device is gone. */
final class UserOffline extends UserEvent
{
}
