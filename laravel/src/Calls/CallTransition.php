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
        /** accepted, rejected, cancelled, missed or ended */
        public readonly string $kind,
        public readonly string $callId,
        public readonly string $callerId,
        public readonly string $receiverId,
        public readonly ?string $reason = null,
        public readonly ?string $endedBy = null,
    ) {
    }

    /** @throws SignalingException */
    public function tell(WebSocketService $signaling): Outcome
    {
        return match ($this->kind) {
            'accepted' => $signaling->callAccepted($this->callId, $this->callerId, $this->receiverId),
            'rejected' => $signaling->callRejected($this->callId, $this->callerId, $this->receiverId, $this->reason),
            'cancelled' => $signaling->callCancelled($this->callId, $this->receiverId, $this->reason),
            'missed' => $signaling->callCancelled($this->callId, $this->receiverId, $this->reason ?? self::TIMED_OUT),
            'ended' => $signaling->callEnded($this->callId, $this->endedBy, $this->reason),
        };
    }
}
