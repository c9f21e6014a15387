<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Push;

use OnlyCare\Signaling\Events\CallCancelled;
use OnlyCare\Signaling\Events\CallMissed;

/** Bound by the application beside SendsCallPush: what rang by push is silenced by push. */
interface SendsCancelledPush
{
    /** Sends CallCancelledPush::data() to the callee, unless another call rings him. It may throw: it is tried again. */
    public function sendCancelledPush(CallCancelled|CallMissed $event): void;
}
