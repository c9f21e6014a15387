<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Calls;

use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\Outcome;
use OnlyCare\Signaling\WebSocketService;

/** What a row of the application's calls says to signaling by its new status. */
final class CallTransition
{
    private const TIMED_OUT = 'Timeout';

    public function __construct(
        public readonly TransitionKind $kind,
        public readonly string $callId,
        public readonly string $callerId,
        public readonly string $receiverId,
        public readonly ?string $reason = null,
        public readonly ?string $endedBy = null,
    ) {
    }

    /** In the log, and as a job. */
    public function name(): string
    {
        return "call {$this->callId} {$this->kind->value}";
    }

    /** @throws SignalingException */
    public function tell(WebSocketService $signaling): Outcome
    {
        [$call, $caller, $receiver, $reason] = [$this->callId, $this->callerId, $this->receiverId, $this->reason];

        return match ($this->kind) {
            TransitionKind::Accepted => $signaling->callAccepted($call, $caller, $receiver),
            TransitionKind::Rejected => $signaling->callRejected($call, $caller, $receiver, $reason),
            TransitionKind::Cancelled => $signaling->callCancelled($call, $receiver, $reason),
            TransitionKind::Missed => $signaling->callCancelled($call, $receiver, $reason ?? self::TIMED_OUT),
            TransitionKind::Ended => $signaling->callEnded($call, $this->endedBy, $reason),
        };
    }
}
