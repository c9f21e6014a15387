<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Health;

enum Status: string
{
    case Ok = 'ok';
    case Warning = 'warning';
    case Failed = 'failed';
    case Skipped = 'skipped';
}
