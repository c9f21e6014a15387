<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Calls;

use OnlyCare\Signaling\Events\CallVerify;
use OnlyCare\Signaling\WebSocketService;

/** Ends a call that makes somebody busy although its row says that it is over. */
final class VerifyCall
{
    public function __construct(private readonly CallRows $rows, private readonly WebSocketService $signaling)
    {
    }

    public function handle(CallVerify $event): void
    {
        $row = $this->rows->find($event->call->callId);
        $kind = $row === null ? null : $this->rows->kind($row);
        if ($kind?->isOver()) {
            $this->signaling->callEnded($event->call->callId);
        }
    }
}
