<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** Any event that signaling sent; a listener of this interface hears all of them. */
interface SignalingEvent
{
}
