<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Console;

use Illuminate\Console\Command;
use Illuminate\Support\Carbon;
use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\WebSocketService;

final class CallCommand extends Command
{
    protected $signature = 'signaling:call {id : with or without CALL_} {--json}';

    protected $description = 'Show what the signaling server knows about a call';

    public function handle(WebSocketService $signaling): int
    {
        try {
            $call = $signaling->callState((string) $this->argument('id'));
        } catch (SignalingException $failure) {
            $this->error($failure->getMessage());

            return self::FAILURE;
        }
        if ($call === null) {
            $this->error('signaling knows no such call (ended ones are forgotten after minutes)');

            return self::FAILURE;
        }
        if ($this->option('json')) {
            $this->line((string) json_encode($call->fields, JSON_UNESCAPED_SLASHES));

            return self::SUCCESS;
        }
        foreach ($call->fields as $name => $value) {
            if (is_scalar($value)) {
                $this->line(sprintf('%-16s %s', $name, $this->readable((string) $name, $value)));
            }
        }
        foreach ($call->timeline as $milestone) {
            $cells = [];
            foreach ($milestone as $name => $value) {
                $cells[] = $name . '=' . $this->readable((string) $name, $value);
            }
            $this->line('  ' . implode('  ', $cells));
        }

        return self::SUCCESS;
    }

    private function readable(string $name, mixed $value): string
    {
        if (is_int($value) && ($name === 'at' || str_ends_with($name, 'At'))) {
            return Carbon::createFromTimestampMs($value)->format('Y-m-d H:i:s.v');
        }

        return is_string($value) ? $value : (string) json_encode($value);
    }
}
