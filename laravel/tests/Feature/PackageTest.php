<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use Illuminate\Filesystem\Filesystem;
use PHPUnit\Framework\TestCase;
use RuntimeException;
use SplFileInfo;
use Symfony\Component\Process\ExecutableFinder;
use Symfony\Component\Process\Process;

/** What Composer gets to see, and how it gets there. */
final class PackageTest extends TestCase
{
    private const PACKAGE = __DIR__ . '/../..';

    private string $folder;

    private Filesystem $files;

    protected function setUp(): void
    {
        $this->files = new Filesystem();
        $this->folder = sys_get_temp_dir() . '/signaling-package-' . bin2hex(random_bytes(6));
        $this->files->makeDirectory($this->folder);
    }

    protected function tearDown(): void
    {
        $this->files->deleteDirectory($this->folder);
    }

    public function test_each_component_that_is_used_is_required(): void
    {
        $used = [];
        foreach (['src', 'routes', 'config', 'database', 'stubs'] as $folder) {
            foreach ($this->files->allFiles(self::PACKAGE . "/$folder") as $file) {
                preg_match_all('/^use Illuminate\\\\(\w+)/m', $file->getContents(), $names);
                $used = [...$used, ...$names[1]];
            }
        }
        // Where it is not there it is not used.
        $used = array_values(array_diff(array_unique($used), ['Foundation']));
        $required = array_keys($this->manifest()['require']);
        $required = array_values(preg_grep('~^illuminate/~', $required));
        self::assertEqualsCanonicalizing(array_map(fn ($name) => 'illuminate/' . strtolower($name), $used), $required);
    }

    public function test_it_has_what_a_package_has(): void
    {
        self::assertFileEquals(self::PACKAGE . '/../LICENSE', self::PACKAGE . '/LICENSE');
        $pages = array_map(fn (string $file): string => basename($file, '.md'), glob(self::PACKAGE . '/*.md'));
        self::assertSame([], array_diff(['README', 'CHANGELOG', 'UPGRADE'], $pages));
        self::assertFileExists(self::PACKAGE . '/.gitattributes');
        self::assertNotEmpty($this->manifest()['keywords']);
        foreach ($this->manifest()['extra']['laravel']['aliases'] as $class) {
            self::assertTrue(class_exists($class), $class);
        }
    }

    public function test_it_is_published_as_often_as_it_changes(): void
    {
        $repository = $this->repository();
        $remote = "$this->folder/remote.git";
        $this->git($this->folder, 'init', '--quiet', '--bare', $remote);

        $this->publish($remote, 'v1.0.0');
        $first = $this->git($remote, 'rev-parse', 'laravel-package');
        self::assertSame($first, $this->git($remote, 'rev-parse', 'v1.0.0'));
        $this->publish($remote, 'v1.0.0');
        self::assertSame($first, $this->git($remote, 'rev-parse', 'laravel-package'));

        $this->files->append("$repository/laravel/LICENSE", "\nMore.\n");
        self::assertStringContainsString('not committed', $this->publish($remote, '', 1));
        $this->git($repository, 'commit', '--quiet', '--all', '--message', 'more');
        self::assertStringContainsString("versions don't change", $this->publish($remote, 'v1.0.0', 1));
        $this->publish($remote, 'v1.1.0');
        self::assertSame($first, $this->git($remote, 'rev-parse', 'laravel-package^'));
        self::assertStringContainsString('a version is', $this->publish($remote, '1.2', 1));

        $this->git($remote, 'archive', "--output=$this->folder/package.tar", 'v1.1.0');
        $names = explode("\n", $this->execute($this->folder, ['tar', 'tf', 'package.tar']));
        self::assertContains('composer.json', $names);
        self::assertContains('src/SignalingServiceProvider.php', $names);
        self::assertSame([], preg_grep('~^(tests|phpunit|phpcs|\.git)~', $names));
    }

    public function test_composer_takes_it_and_its_next_version(): void
    {
        if (!$this->has('composer')) {
            self::markTestSkipped('there is no composer here');
        }
        $repository = $this->repository();
        $remote = "$this->folder/remote.git";
        $this->git($this->folder, 'init', '--quiet', '--bare', $remote);
        $this->publish($remote, 'v1.0.0');
        $application = "$this->folder/application";
        $this->files->makeDirectory($application);
        $this->files->put("$application/composer.json", json_encode([
            'repositories' => [['type' => 'vcs', 'url' => "file://$remote"], ['packagist.org' => false]],
            // The application's framework is at hand without Composer.
            'provide' => array_map(fn () => '*', $this->required()),
            'require' => ['onlycare/laravel-signaling' => '^1.0'],
        ], JSON_THROW_ON_ERROR));
        $update = ['composer', 'update', '--no-interaction', '--no-progress', '--quiet'];
        $this->execute($application, $update);
        $installed = "$application/vendor/onlycare/laravel-signaling/composer.json";
        self::assertSame($this->manifest(), json_decode($this->files->get($installed), true));

        $this->files->append("$repository/laravel/LICENSE", "\nMore.\n");
        $this->git($repository, 'commit', '--quiet', '--all', '--message', 'more');
        $this->publish($remote, 'v1.0.1');
        $this->execute($application, $update);
        $licence = $this->files->get(dirname($installed) . '/LICENSE');
        self::assertStringEndsWith("\nMore.\n", $licence);
        $load = 'require "vendor/autoload.php"; echo enum_exists(OnlyCare\Signaling\CallState::class) ? "yes" : "no";';
        self::assertSame('yes', $this->execute($application, [PHP_BINARY, '-r', $load]));
    }

    /** A repository with this package and the script. */
    private function repository(): string
    {
        if (!$this->has('git')) {
            self::markTestSkipped('there is no git here');
        }
        $repository = "$this->folder/repository";
        $this->files->ensureDirectoryExists("$repository/scripts");
        $this->files->copy(self::PACKAGE . '/../scripts/publish-laravel', "$repository/scripts/publish-laravel");
        chmod("$repository/scripts/publish-laravel", 0o755);
        foreach ($this->files->allFiles(self::PACKAGE, true) as $file) {
            if (!str_starts_with($file->getRelativePathname(), 'vendor/')) {
                $this->copy($file, "$repository/laravel/{$file->getRelativePathname()}");
            }
        }
        $this->git($this->folder, 'init', '--quiet', $repository);
        $this->git($repository, 'add', '.');
        $this->git($repository, 'commit', '--quiet', '--message', 'all');

        return $repository;
    }

    private function copy(SplFileInfo $file, string $to): void
    {
        $this->files->ensureDirectoryExists(dirname($to));
        $this->files->copy($file->getPathname(), $to);
    }

    private function publish(string $remote, string $version, int $code = 0): string
    {
        $script = ['scripts/publish-laravel', $remote, ...($version === '' ? [] : [$version])];

        return $this->execute("$this->folder/repository", $script, $code);
    }

    private function git(string $folder, string ...$arguments): string
    {
        return $this->execute($folder, ['git', ...$arguments]);
    }

    /** @param list<string> $command */
    private function execute(string $folder, array $command, int $code = 0): string
    {
        $process = new Process($command, $folder, [
            'HOME' => $this->folder,
            'COMPOSER_ALLOW_SUPERUSER' => '1',
            'GIT_CONFIG_COUNT' => '3',
            'GIT_CONFIG_KEY_0' => 'user.name',
            'GIT_CONFIG_VALUE_0' => 'test',
            'GIT_CONFIG_KEY_1' => 'user.email',
            'GIT_CONFIG_VALUE_1' => 'test@example.com',
            'GIT_CONFIG_KEY_2' => 'safe.directory',
            'GIT_CONFIG_VALUE_2' => '*',
        ]);
        $process->run();
        $output = $process->getOutput() . $process->getErrorOutput();
        if ($process->getExitCode() !== $code) {
            throw new RuntimeException(implode(' ', $command) . ": {$process->getExitCode()}\n$output");
        }

        return $code === 0 ? trim($process->getOutput()) : $output;
    }

    private function has(string $command): bool
    {
        return (new ExecutableFinder())->find($command) !== null;
    }

    /** @return array<string, mixed> */
    private function manifest(): array
    {
        return json_decode($this->files->get(self::PACKAGE . '/composer.json'), true, 16, JSON_THROW_ON_ERROR);
    }

    /** @return array<string, string> packages */
    private function required(): array
    {
        return array_filter($this->manifest()['require'], fn ($name) => str_contains($name, '/'), ARRAY_FILTER_USE_KEY);
    }
}
