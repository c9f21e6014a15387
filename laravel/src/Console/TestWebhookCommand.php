<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Console;

use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\Http;
use Illuminate\Support\Str;
use InvalidArgumentException;
use OnlyCare\Signaling\Webhooks\HandleWebhook;
use OnlyCare\Signaling\Webhooks\WebhookSignature;
use Throwable;

final class TestWebhookCommand extends Command
{
    protected $signature = 'signaling:test-webhook
        {type=call.ended : as in docs/webhooks.md}
        {--call= : a call of this id; listeners take it for true}
        {--url= : in the place of APP_URL and the route}
        {--json}';

    protected $description = 'Send the application a webhook as signaling would';

    public function handle(Config $config): int
    {
        $type = (string) $this->argument('type');
        if (!HandleWebhook::knows($type)) {
            return $this->tell(null, "there is no $type");
        }
        try {
            $signature = WebhookSignature::fromConfig($config);
        } catch (InvalidArgumentException $unusable) {
            return $this->tell(null, "WEBSOCKET_WEBHOOK_SECRET: {$unusable->getMessage()}");
        }
        $path = ltrim((string) $config->get('websocket.webhook_path'), '/');
        $url = (string) ($this->option('url') ?? rtrim((string) $config->get('app.url'), '/') . "/$path");
        $id = 'msg_test' . Str::lower(Str::random(16));
        $at = (string) Carbon::now()->getTimestamp();
        $body = (string) json_encode($this->webhook($type));
        try {
            $status = Http::withoutRedirecting()->timeout(15)->withHeaders([
                'webhook-id' => $id,
                'webhook-timestamp' => $at,
                'webhook-signature' => $signature->sign($id, $at, $body),
            ])->withBody($body, 'application/json')->post($url)->status();
        } catch (Throwable $failure) {
            return $this->tell(null, "nobody answers at $url: {$failure->getMessage()}");
        }

        return $this->tell($status, "$url answered $status: " . match (true) {
            $status === 204 => "$type is queued",
            $status === 401 => 'its secret or its clock is another',
            $status === 404 => 'it has no such route: is its WEBSOCKET_WEBHOOK_SECRET set, its route cache old?',
            $status === 419 => 'it wants a CSRF token: the route is in the group web',
            $status === 503 => 'it can not store it, its log says why',
            default => 'signaling would send it again',
        });
    }

    /** @return array{type: string, timestamp: string, data: array<string, mixed>} */
    private function webhook(string $type): array
    {
        $now = Carbon::now();
        $data = str_starts_with($type, 'call.')
            ? $this->sampleOf(Str::after($type, '.'), $now->getTimestampMs())
            : ['userId' => 'USR_test', 'timestamp' => $now->getTimestampMs()];

        return ['type' => $type, 'timestamp' => $now->utc()->format('Y-m-d\TH:i:s.v\Z'), 'data' => $data];
    }

    /** @return array<string, mixed> */
    private function sampleOf(string $event, int $now): array
    {
        $call = [
            'callId' => $this->option('call') ?? 'CALL_test-' . Str::lower(Str::random(12)),
            'callerId' => 'USR_test-1',
            'receiverId' => 'USR_test-2',
            'callType' => 'AUDIO',
            'createdAt' => $now - 5000,
        ];
        $ended = static fn (string $reason): array => ['state' => 'ended', 'endedAt' => $now, 'reason' => $reason];
        $talked = ['acceptedAt' => $now - 3000, 'durationMs' => 3000, 'talkMs' => 3000];

        return $call + match ($event) {
            'initiated' => ['seq' => 1, 'state' => 'trying'],
            'push_required' => ['seq' => 2, 'state' => 'trying', 'channelName' => 'test', 'expiresAt' => $now + 25_000],
            'ringing' => ['seq' => 3, 'state' => 'ringing'],
            'accepted' => ['seq' => 4, 'state' => 'active', 'acceptedAt' => $now],
            'verify' => ['seq' => 5, 'state' => 'active', 'acceptedAt' => $now],
            'rejected' => ['seq' => 5] + $ended('rejected'),
            'cancelled' => ['seq' => 5] + $ended('cancelled'),
            'missed' => ['seq' => 5] + $ended('no_answer'),
            default => ['seq' => 5] + $talked + $ended('hung_up'),
        };
    }

    private function tell(?int $status, string $text): int
    {
        $taken = $status === 204;
        if ($this->option('json')) {
            $answer = ['ok' => $taken, 'status' => $status, 'detail' => $text];
            $this->line((string) json_encode($answer, JSON_UNESCAPED_SLASHES));
        } else {
            $taken ? $this->info($text) : $this->error($text);
        }

        return $taken ? self::SUCCESS : self::FAILURE;
    }
}
