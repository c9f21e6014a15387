<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use Illuminate\Foundation\Console\AboutCommand;
use Illuminate\Queue\Failed\DatabaseUuidFailedJobProvider;
use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\File;
use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Tests\TestCase;
use OnlyCare\Signaling\Webhooks\WebhookSignature;

final class InstallTest extends TestCase
{
    private string $folder;

    protected function setUp(): void
    {
        parent::setUp();
        $base = Stage::get()->folder . '/installed' . random_int(1, PHP_INT_MAX);
        $this->app->setBasePath($base);
        $this->folder = "$base/config";
    }

    public function test_a_bare_application_gets_all_it_lacks(): void
    {
        config(['queue' => [], 'app.url' => 'https://api.example.com/']);
        $printed = $this->install(['WEBSOCKET_SECRET' => null, 'WEBSOCKET_WEBHOOK_SECRET' => null]);
        [, $laravel, $signaling] = explode("\n# ", $printed);
        $laravel = $this->variables($laravel);
        $signaling = $this->variables($signaling);

        self::assertMatchesRegularExpression('/^[0-9a-f]{64}$/', $laravel['WEBSOCKET_SECRET']);
        self::assertSame($laravel['WEBSOCKET_SECRET'], $signaling['LARAVEL_API_SECRET']);
        self::assertSame($laravel['WEBSOCKET_WEBHOOK_SECRET'], $signaling['WEBHOOK_SECRET']);
        new WebhookSignature($laravel['WEBSOCKET_WEBHOOK_SECRET']);
        self::assertSame('https://api.example.com', $signaling['LARAVEL_API_URL']);
        self::assertSame('https://api.example.com/webhooks/signaling', $signaling['WEBHOOK_URL']);
        self::assertArrayNotHasKey('WEBHOOK_ALLOW_PRIVATE', $signaling);
        self::assertSame(['queue.php', 'websocket.php'], array_map('basename', File::glob("{$this->folder}/*")));
        $queue = require "{$this->folder}/queue.php";
        self::assertSame('database', $queue['default']);
        config(['queue' => $queue]);
        $this->app->forgetInstance('queue.failer');
        self::assertInstanceOf(DatabaseUuidFailedJobProvider::class, $this->app->make('queue.failer'));
    }

    public function test_what_is_there_stays_and_no_secret_is_shown(): void
    {
        File::makeDirectory($this->folder, recursive: true);
        File::put("{$this->folder}/websocket.php", '<?php return [];');
        config(['app.url' => 'http://10.0.0.3']);
        $set = ['WEBSOCKET_SECRET' => 'top-secret', 'WEBSOCKET_WEBHOOK_SECRET' => Stage::WEBHOOK_SECRET];
        $printed = $this->install($set);
        self::assertStringContainsString('config/websocket.php stays', $printed);
        self::assertStringContainsString('# WEBSOCKET_SECRET stays', $printed);
        self::assertStringContainsString('WEBHOOK_ALLOW_PRIVATE=true', $printed);
        self::assertStringNotContainsString('top-secret', $printed);
        self::assertStringNotContainsString(Stage::WEBHOOK_SECRET, $printed);
        self::assertSame('<?php return [];', File::get("{$this->folder}/websocket.php"));
        self::assertFileDoesNotExist("{$this->folder}/queue.php");
    }

    public function test_about_has_a_section(): void
    {
        if (!class_exists(AboutCommand::class)) {
            self::assertTrue(version_compare($this->app->version(), '9.21', '<'));

            return;
        }
        [$about, $code] = Stage::get()->artisan('about --only=signaling --json');
        self::assertSame(0, $code, $about);
        $section = json_decode($about, true, 8, JSON_THROW_ON_ERROR)['signaling'];
        self::assertSame('/webhooks/signaling', $section['webhooks']);
        self::assertStringNotContainsString(Stage::SECRET, $about);
    }

    /** @param array<string, ?string> $environment what .env has */
    private function install(array $environment): string
    {
        $before = [];
        foreach ($environment as $name => $value) {
            $before[$name] = $_SERVER[$name] ?? null;
            $this->set($name, $value);
        }
        try {
            self::assertSame(0, Artisan::call('signaling:install'));
        } finally {
            array_map($this->set(...), array_keys($before), $before);
        }

        return Artisan::output();
    }

    private function set(string $name, ?string $value): void
    {
        unset($_SERVER[$name], $_ENV[$name]);
        if ($value !== null) {
            $_SERVER[$name] = $_ENV[$name] = $value;
        }
        putenv($value === null ? $name : "$name=$value");
    }

    /** @return array<string, string> */
    private function variables(string $text): array
    {
        preg_match_all('/^([A-Z_]+)=(.*)$/m', $text, $lines);

        return array_combine($lines[1], $lines[2]);
    }
}
