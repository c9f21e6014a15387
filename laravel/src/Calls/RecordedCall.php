<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Calls;

use Illuminate\Database\Eloquent\Model;
use OnlyCare\Signaling\EndReason;

/** A call that was accepted or is over, as RecordCall wrote it. Times are to the second, in the application's zone. */
final class RecordedCall extends Model
{
    public $timestamps = false;

    protected $guarded = [];

    /** @var array<string, string> */
    protected $casts = ['accepted_at' => 'datetime', 'ended_at' => 'datetime', 'reason' => EndReason::class];

    public function getTable(): string
    {
        return config('websocket.calls_table') ?: 'signaling_calls';
    }
}
