<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Tests\TestCase;
use PHPUnit\Framework\Attributes\DataProvider;

/** A configuration that is wrong must leave the commands that mend it. */
final class BootTest extends TestCase
{
    /** @dataProvider mistakes */
    #[DataProvider('mistakes')]
    public function test_artisan_outlives_a_mistake(array $environment, string $check = '', string $detail = ''): void
    {
        [$output, $code] = Stage::get()->artisan('list signaling --raw', $environment);
        self::assertSame(0, $code, $output);
        self::assertStringContainsString('signaling:health', $output);
        [$output] = Stage::get()->artisan('signaling:health --quick', $environment);
        if ($check !== '') {
            self::assertMatchesRegularExpression("/^$check +failed +.*$detail/m", $output);
        }
    }

    /** @return array<string, array{0: array<string, string>, 1?: string, 2?: string}> */
    public static function mistakes(): array
    {
        $model = static fn (string $name): array => [['WEBSOCKET_CALL_MODEL' => $name], 'observer'];

        return [
            'no such class' => [...$model('App\\Models\\Cal'), 'names no Eloquent model'],
            'no model' => [...$model('DateTimeImmutable'), 'names no Eloquent model'],
            'the parent of all' => [...$model('Illuminate\\Database\\Eloquent\\Model'), 'names no Eloquent model'],
            'escaped twice' => [...$model('OnlyCare\\\\Signaling\\\\Ring'), 'names no Eloquent model'],
            'an empty model' => [['WEBSOCKET_CALL_MODEL' => '']],
            'a secret that is none' => [['WEBSOCKET_WEBHOOK_SECRET' => 'whsec_x'], 'route', 'WEBSOCKET_WEBHOOK_SECRET'],
            'an unknown queue' => [['WEBSOCKET_WEBHOOK_CONNECTION' => 'other'], 'queue', "'other'"],
            'no queue' => [['QUEUE_CONNECTION' => 'null'], 'queue', ''],
            'an empty path' => [['WEBSOCKET_WEBHOOK_PATH' => '']],
            'an unknown cache' => [['WEBSOCKET_BREAKER_STORE' => 'other', 'WEBSOCKET_WEBHOOK_DEDUPE_STORE' => 'other']],
        ];
    }
}
