<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use PHPUnit\Framework\TestCase;

final class DocumentsTest extends TestCase
{
    private const PACKAGE = __DIR__ . '/../..';

    public function test_examples_are_php(): void
    {
        preg_match_all('/^```php\n(.*?)^```/ms', $this->documents(), $examples);
        self::assertGreaterThan(5, count($examples[1]));
        foreach ($examples[1] as $example) {
            self::assertNotEmpty(token_get_all("<?php\n$example", TOKEN_PARSE));
        }
    }

    public function test_classes_and_methods_of_examples_exist(): void
    {
        preg_match_all('/OnlyCare\\\\Signaling\\\\[A-Za-z\\\\]+(?=;|\n)/', $this->documents(), $classes);
        foreach (array_unique($classes[0]) as $class) {
            self::assertTrue(class_exists($class) || interface_exists($class) || enum_exists($class), $class);
        }
        preg_match_all('/Signaling::(assert\w+)\(/', $this->documents(), $assertions);
        foreach (array_unique($assertions[1]) as $method) {
            self::assertTrue(method_exists(\OnlyCare\Signaling\Testing\SignalingFake::class, $method), $method);
        }
        preg_match_all('/\$signaling->(\w+)\(/', $this->documents(), $methods);
        foreach (array_unique($methods[1]) as $method) {
            self::assertTrue(method_exists(\OnlyCare\Signaling\WebSocketService::class, $method), $method);
        }
    }

    public function test_the_table_names_every_variable_and_no_other(): void
    {
        $config = (string) file_get_contents(self::PACKAGE . '/config/websocket.php');
        self::assertEqualsCanonicalizing($this->variables($config), $this->variables($this->documents()));
    }

    private function documents(): string
    {
        $guide = dirname(__DIR__, 3) . '/docs/laravel.md';

        return file_get_contents(self::PACKAGE . '/README.md') . file_get_contents($guide);
    }

    /** @return list<string> */
    private function variables(string $text): array
    {
        preg_match_all('/WEBSOCKET_[A-Z_]+/', $text, $names);

        return array_values(array_unique($names[0]));
    }
}
