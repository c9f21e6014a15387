<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Console;

use Illuminate\Console\Command;
use OnlyCare\Signaling\Health\Check;
use OnlyCare\Signaling\Health\ServerChecks;
use OnlyCare\Signaling\Health\Status;
use OnlyCare\Signaling\Health\WebhookChecks;

final class HealthCommand extends Command
{
    protected $signature = 'signaling:health
        {--wait=10 : seconds for a worker, and for a webhook}
        {--quick : without what takes a worker or a webhook}
        {--json}';

    protected $description = 'Check both directions between Laravel and the signaling server';

    public function handle(ServerChecks $server, WebhookChecks $webhooks): int
    {
        $checks = [...$this->configuration(), ...$server->all(), $webhooks->observer()];
        array_push($checks, ...$this->webhooks($webhooks, $this->answers($checks)));
        $healthy = !in_array(Status::Failed, array_map(fn (Check $check) => $check->status, $checks), true);
        if ($this->option('json')) {
            $checks = array_map(fn (Check $check) => $check->toArray(), $checks);
            $this->line((string) json_encode(['ok' => $healthy, 'checks' => $checks], JSON_UNESCAPED_SLASHES));
        } else {
            foreach ($checks as $check) {
                $this->line(sprintf('%-9s %-8s %s', $check->name, $check->status->value, $check->detail));
            }
        }

        return $healthy ? self::SUCCESS : self::FAILURE;
    }

    /** @return list<Check> */
    private function configuration(): array
    {
        [$cached, $env] = [$this->laravel->getCachedConfigPath(), $this->laravel->environmentFilePath()];
        clearstatcache();
        if (!is_file($cached) || !is_file($env) || filemtime($env) <= filemtime($cached)) {
            return [];
        }

        return [Check::warning('config', 'cached before .env was changed: run php artisan config:cache')];
    }

    /** @return list<Check> */
    private function webhooks(WebhookChecks $checks, bool $serverAnswers): array
    {
        $route = $checks->route();
        if ($route === null) {
            return [Check::skipped('webhooks', 'off: WEBSOCKET_WEBHOOK_SECRET is not set')];
        }
        $done = [$route, $checks->queue()];
        if ($this->option('quick') || $done[1]->status === Status::Failed) {
            return $done;
        }
        $wait = max(1, (int) $this->option('wait'));
        $done[] = $checks->worker($wait);
        if ($serverAnswers && $route->status === Status::Ok) {
            $done[] = $checks->roundTrip($wait);
        }

        return $done;
    }

    /** @param list<Check> $checks */
    private function answers(array $checks): bool
    {
        foreach ($checks as $check) {
            if ($check->status === Status::Failed && in_array($check->name, ['server', 'secret'], true)) {
                return false;
            }
        }

        return true;
    }
}
