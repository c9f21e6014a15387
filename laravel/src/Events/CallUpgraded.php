<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** It is a video call from now on. */
final class CallUpgraded extends CallTypeChanged
{
}
