<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** This call makes somebody busy: if Laravel knows that it is over, signaling wants to hear it. */
final class CallVerify extends CallEvent
{
}
