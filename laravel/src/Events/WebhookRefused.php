<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Events;

use OnlyCare\Signaling\Webhooks\Refusal;

/** A request to the webhook route was answered 401. At most once a minute for each reason, with a line in the log. */
final class WebhookRefused
{
    public function __construct(public readonly Refusal $refusal, public readonly ?string $ip)
    {
    }
}
