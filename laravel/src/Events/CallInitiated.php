<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** A phone, or Laravel, called somebody. */
final class CallInitiated extends CallEvent
{
}
