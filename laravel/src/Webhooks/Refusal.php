<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

/** Why a request to the webhook route is not signaling's. */
enum Refusal: string
{
    case Unsigned = 'unsigned';
    case Signature = 'signature';
    case Clock = 'clock';

    public function text(): string
    {
        return match ($this) {
            self::Unsigned => 'it has no signature: signaling did not send it, or a proxy drops the webhook- headers',
            self::Signature => 'its signature is wrong: WEBSOCKET_WEBHOOK_SECRET differs from WEBHOOK_SECRET,'
                . ' or somebody else sent it',
            self::Clock => 'its signature is right and its time is not: the clock here or that of a node is wrong',
        };
    }
}
