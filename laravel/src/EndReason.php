<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

/** Why a call ended, in signaling's words; a sender's own are beside it, as `fields['text']`. */
enum EndReason: string
{
    case Cancelled = 'cancelled';
    /** The caller's newer call took its place. */
    case Superseded = 'superseded';
    /** The caller went away while it rang. */
    case CallerGone = 'caller_gone';
    case Rejected = 'rejected';
    case NoAnswer = 'no_answer';
    case Busy = 'busy';
    case HungUp = 'hung_up';
    /** A party did not come back. */
    case Lost = 'lost';
    case MaxDuration = 'max_duration';
    /** One that only a newer server knows. */
    case Other = 'other';
}
