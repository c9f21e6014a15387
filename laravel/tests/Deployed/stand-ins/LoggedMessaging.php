<?php

declare(strict_types=1);

namespace Kreait\Firebase\Contract;

/** The push service, with a file in the place of phones. */
final class LoggedMessaging implements Messaging
{
    public function send(array $message): array
    {
        file_put_contents(storage_path('pushes.log'), json_encode($message) . "\n", FILE_APPEND);

        return [];
    }
}
