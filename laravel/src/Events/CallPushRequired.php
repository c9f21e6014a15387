<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

/** No device of the callee has it: wake him by push, before `call->expiresAt`. */
final class CallPushRequired extends CallEvent
{
}
