<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Push;

use OnlyCare\Signaling\Events\CallPushRequired;

/** Bound by the application, which has the row, the callee's push token and the push service. */
interface SendsCallPush
{
    /** Loads the row of `event->call->callId` and sends IncomingCallPush::data(). It may throw: it is tried again. */
    public function sendCallPush(CallPushRequired $event): void;
}
