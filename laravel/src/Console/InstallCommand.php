<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Console;

use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Filesystem\Filesystem;
use Illuminate\Support\Env;

final class InstallCommand extends Command
{
    protected $signature = 'signaling:install';

    protected $description = 'Publish the configuration, make secrets, and print both sides of .env';

    public function handle(Config $config, Filesystem $files): int
    {
        $this->publish($files, 'config/websocket.php', config_path('websocket.php'));
        if ($config->get('queue.default') === null) {
            $this->publish($files, 'stubs/queue.php', config_path('queue.php'));
        }
        $url = rtrim((string) $config->get('app.url', 'https://api.example.com'), '/');
        $secret = $this->unlessSet('WEBSOCKET_SECRET', 'websocket.secret', bin2hex(random_bytes(32)));
        $webhook = 'whsec_' . base64_encode(random_bytes(32));
        $webhook = $this->unlessSet('WEBSOCKET_WEBHOOK_SECRET', 'websocket.webhook_secret', $webhook);

        $this->lines("Laravel's .env", [
            'WEBSOCKET_URL' => $config->get('websocket.url'),
            'WEBSOCKET_SECRET' => $secret,
            'WEBSOCKET_CALL_MODEL' => 'App\Models\Call',
            'WEBSOCKET_WEBHOOK_SECRET' => $webhook,
            'WEBSOCKET_WEBHOOK_DEDUPE' => 'true',
        ]);
        $this->lines("signaling's environment", [
            'LARAVEL_API_URL' => $url,
            'LARAVEL_API_SECRET' => $secret ?? '(WEBSOCKET_SECRET of .env)',
            'WEBHOOK_URL' => $url . '/' . ltrim((string) $config->get('websocket.webhook_path'), '/'),
            'WEBHOOK_SECRET' => $webhook ?? '(WEBSOCKET_WEBHOOK_SECRET of .env)',
        ] + (str_starts_with($url, 'https://') ? [] : ['WEBHOOK_ALLOW_PRIVATE' => 'true']));

        return self::SUCCESS;
    }

    private function publish(Filesystem $files, string $from, string $to): void
    {
        $name = 'config/' . basename($to);
        if ($files->exists($to)) {
            $this->line("$name stays: its options win");

            return;
        }
        $files->ensureDirectoryExists(dirname($to));
        $files->copy(dirname(__DIR__, 2) . "/$from", $to);
        $this->line("$name is written");
    }

    /** Null where one is set: it is not shown, nor is one that a configuration only falls back on. */
    private function unlessSet(string $variable, string $option, string $new): ?string
    {
        $set = $this->laravel->configurationIsCached() ? config($option) : Env::get($variable);

        return is_string($set) && $set !== '' ? null : $new;
    }

    /** @param array<string, ?string> $variables */
    private function lines(string $title, array $variables): void
    {
        $this->line('');
        $this->line("# $title");
        foreach ($variables as $name => $value) {
            $this->line($value === null ? "# $name stays" : "$name=$value");
        }
    }
}
