<?php

declare(strict_types=1);

namespace Kreait\Firebase\Contract;

/** As much of Firebase as the backend uses. */
interface Messaging
{
    /** @param array<string, mixed> $message */
    public function send(array $message): array;
}
