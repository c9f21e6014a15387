<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Calls;

use Illuminate\Contracts\Auth\Factory as Auth;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Support\Facades\Log;
use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\Exceptions\SignalingUnavailable;
use OnlyCare\Signaling\Support\Queues;
use OnlyCare\Signaling\WebSocketService;
use Throwable;

/** Tells signaling what became of a call as soon as its new status is committed. Never breaks the save. */
final class CallStatusObserver
{
    public function __construct(
        private readonly CallRows $rows,
        private readonly WebSocketService $signaling,
        private readonly Auth $auth,
        private readonly Config $config,
        private readonly Queues $queues,
    ) {
    }

    public function updated(Model $row): void
    {
        try {
            // Here and not after the commit: until then the row may be saved again, and forgets what this save changed.
            $changed = $this->rows->statusChanged($row);
            $transition = $changed ? $this->rows->transition($row, $this->user()) : null;
            if ($transition !== null) {
                $row->getConnection()->afterCommit(fn () => $this->tell($transition));
            }
        } catch (Throwable $failure) {
            Log::error('a change of a call was not told: ' . $failure->getMessage());
        }
    }

    private function tell(CallTransition $transition): void
    {
        try {
            $transition->tell($this->signaling);
        } catch (SignalingException $failure) {
            Log::warning("{$transition->name()}: {$failure->getMessage()}");
            if ($failure instanceof SignalingUnavailable) {
                $this->tellLater($transition);
            }
        } catch (Throwable $failure) {
            Log::error("{$transition->name()} was not told: {$failure->getMessage()}");
        }
    }

    private function tellLater(CallTransition $transition): void
    {
        $connection = $this->config->get('websocket.transitions_connection');
        if ((string) $connection === '') {
            return;
        }
        $fault = $this->queues->fault($connection);
        if ($fault !== null) {
            Log::error("{$transition->name()} was not queued: $fault");

            return;
        }
        try {
            dispatch(new TellTransition($transition))
                ->onConnection($connection)
                ->onQueue($this->config->get('websocket.transitions_queue'));
        } catch (Throwable $failure) {
            Log::error("{$transition->name()} was not queued: {$failure->getMessage()}");
        }
    }

    /** Who makes the change, as far as it is a request of one of the parties. */
    private function user(): ?string
    {
        try {
            $id = $this->auth->guard()->id();

            return $id === null ? null : (string) $id;
        } catch (Throwable) {
            return null;
        }
    }
}
