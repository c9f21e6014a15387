<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Calls;

/** What a status of the application's calls means to signaling: the values of `call_statuses`. */
enum TransitionKind: string
{
    case Accepted = 'accepted';
    case Rejected = 'rejected';
    case Cancelled = 'cancelled';
    case Missed = 'missed';
    case Ended = 'ended';

    public function isOver(): bool
    {
        return $this !== self::Accepted;
    }
}
