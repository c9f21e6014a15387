<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Support\Facades\DB;
use OnlyCare\Signaling\Events\CallEvent;
use OnlyCare\Signaling\Events\SignalingEvent;

final class RecordedEvent
{
    public function handle(SignalingEvent $event): void
    {
        DB::table('events')->insert([
            'type' => class_basename($event),
            'webhook_id' => $event->webhookId,
            'subject' => $event instanceof CallEvent ? $event->call->callId : $event->userId,
            'seq' => $event instanceof CallEvent ? $event->call->seq : null,
            'fields' => $event instanceof CallEvent ? json_encode($event->call->fields, JSON_THROW_ON_ERROR) : null,
        ]);
    }
}
