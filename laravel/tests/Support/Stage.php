<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Support;

use Illuminate\Filesystem\Filesystem;
use RuntimeException;

/** A folder for this run and, once asked for, the real server and a Laravel of several workers that know each other. */
final class Stage
{
    public const SECRET = 'stage-secret-4711';
    public const WEBHOOK_SECRET = 'whsec_c3RhZ2Utd2ViaG9vay1zZWNyZXQtMDEyMzQ1Njc4OQ==';

    private static ?self $instance = null;

    private bool $live = false;

    private int $servers = 0;

    private function __construct(
        public readonly string $folder,
        public string $signaling = '',
        public string $laravel = '',
    ) {
    }

    public static function get(): self
    {
        if (self::$instance === null) {
            $folder = sys_get_temp_dir() . '/signaling-php-' . bin2hex(random_bytes(6));
            mkdir($folder);
            foreach (['cache', 'framework'] as $name) {
                mkdir("$folder/$name");
            }
            touch("$folder/database.sqlite");
            putenv("SIGNALING_TEST_FOLDER=$folder");
            register_shutdown_function(static fn () => (new Filesystem())->deleteDirectory($folder));
            self::$instance = new self($folder);
            self::$instance->writeEnvironment();
        }

        return self::$instance;
    }

    /** Laravel first, then the server that asks it, then Laravel's .env with the server's address: it is read anew by
     *  each request. */
    public function goLive(): void
    {
        if ($this->live) {
            return;
        }
        $path = ['PATH' => (string) getenv('PATH'), 'SIGNALING_TEST_FOLDER' => $this->folder];
        $index = dirname(__DIR__) . '/Backend/public/index.php';
        $server = [PHP_BINARY, '-d', 'error_reporting=8191', '-d', 'display_errors=0', '-S', '127.0.0.1:0', $index];
        $laravel = new Program('web', $server, $path + ['PHP_CLI_SERVER_WORKERS' => '6'], $this->folder);
        $this->laravel = $laravel->waitFor('~\((http://127\.0\.0\.1:\d+)\) started~');

        [$this->signaling] = $this->server();
        $this->writeEnvironment();
        $this->live = true;
    }

    /**
     * A signaling server that asks and tells this Laravel.
     *
     * @param array<string, string> $environment
     *
     * @return array{0: string, 1: Program} its address
     */
    public function server(array $environment = []): array
    {
        return $this->bareServer($environment + $this->signalingEnvironment());
    }

    /**
     * @param array<string, string> $environment all it is told
     *
     * @return array{0: string, 1: Program} its address
     */
    public function bareServer(array $environment): array
    {
        $environment += [
            'HOST' => '127.0.0.1',
            'PORT' => '0',
            'ADMIN_PORT' => '0',
            'LOG_FORMAT' => 'json',
            'PATH' => (string) getenv('PATH'),
        ];
        $server = new Program('signaling' . $this->servers++, [self::binary()], $environment, $this->folder);

        return ['http://' . $server->waitFor('~^(?=.*"listening").*"public":"([^"]+)"~m'), $server];
    }

    /**
     * An artisan command in a process of its own, as an operator runs it.
     *
     * @param array<string, string> $environment
     *
     * @return array{0: string, 1: int} what it wrote, and its exit code
     */
    public function artisan(string $command, array $environment = []): array
    {
        // An environment of its own: the one of this process has what .env said before.
        $words = ['env', '-i', "SIGNALING_TEST_FOLDER={$this->folder}"];
        foreach ($environment as $name => $value) {
            $words[] = "$name=$value";
        }
        array_push($words, PHP_BINARY, '-d', 'error_reporting=8191', dirname(__DIR__) . '/Backend/artisan');
        exec(implode(' ', array_map(escapeshellarg(...), $words)) . " $command 2>&1", $lines, $code);

        return [implode("\n", $lines), $code];
    }

    /** What Laravel logged. */
    public function log(): string
    {
        return (string) @file_get_contents("{$this->folder}/laravel.log");
    }

    public static function binary(): string
    {
        $built = dirname(__DIR__, 3) . '/target/debug/onlycare-signaling';
        $binary = (string) realpath(getenv('SIGNALING_BIN') ?: $built);
        if (!is_executable($binary)) {
            throw new RuntimeException('no binary: run cargo build, or set SIGNALING_BIN');
        }

        return $binary;
    }

    /** Whether the binary has an option of this name. */
    public static function binaryHas(string $option): bool
    {
        static $options = null;
        $options ??= (string) shell_exec(escapeshellarg(self::binary()) . ' --print-options 2>/dev/null');

        return str_contains($options, "`$option`");
    }

    /** @return array<string, string> */
    private function signalingEnvironment(): array
    {
        $webhooks = self::binaryHas('WEBHOOK_SECRET') ? [
            'WEBHOOK_URL' => $this->laravel . '/webhooks/signaling',
            'WEBHOOK_SECRET' => self::WEBHOOK_SECRET,
            'WEBHOOK_ALLOW_PRIVATE' => 'true',
        ] : [];

        // The package takes their place, see docs/laravel.md.
        $callbacks = self::binaryHas('LARAVEL_CALLBACKS') ? ['LARAVEL_CALLBACKS' => 'off'] : [];

        return $webhooks + $callbacks + [
            'LARAVEL_API_URL' => $this->laravel,
            'LARAVEL_API_SECRET' => self::SECRET,
        ];
    }

    private function writeEnvironment(): void
    {
        $lines = [
            'APP_KEY' => 'base64:' . base64_encode(str_repeat('k', 32)),
            'WEBSOCKET_URL' => $this->signaling ?: 'http://127.0.0.1:9',
            'WEBSOCKET_SECRET' => self::SECRET,
            'WEBSOCKET_WEBHOOK_SECRET' => self::WEBHOOK_SECRET,
            'WEBSOCKET_WEBHOOK_DEDUPE' => 'true',
            'WEBSOCKET_CALL_MODEL' => addslashes(\OnlyCare\Signaling\Tests\Backend\Call::class),
        ];
        $text = '';
        foreach ($lines as $name => $value) {
            $text .= "$name=\"$value\"\n";
        }
        // In one step: a request of a live server may be reading it.
        file_put_contents("{$this->folder}/.env.new", $text);
        rename("{$this->folder}/.env.new", "{$this->folder}/.env");
    }
}
