<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Support;

use Illuminate\Filesystem\Filesystem;
use PDO;
use RuntimeException;
use Symfony\Component\Process\Process;

/** A backend like the deployed one, in a folder of its own, without this package. */
final class Deployed
{
    private const SECRET = 'deployed-secret-4711';

    public readonly string $folder;

    public readonly string $url;

    private readonly Filesystem $files;

    public function __construct(string $folder)
    {
        $this->folder = $folder;
        $this->files = new Filesystem();
        $this->files->copyDirectory(dirname(__DIR__) . '/Deployed', $folder);
        foreach (['framework', 'cache', 'logs'] as $name) {
            $this->files->makeDirectory("$folder/storage/$name", recursive: true);
        }
        $this->files->ensureDirectoryExists("$folder/bootstrap/cache");
        touch("$folder/storage/database.sqlite");
        $this->set([
            'APP_KEY' => 'base64:' . base64_encode(str_repeat('k', 32)),
            'WEBSOCKET_URL' => 'http://127.0.0.1:9',
            'WEBSOCKET_SECRET' => self::SECRET,
        ]);
        $this->run('composer', 'dump-autoload', '--quiet');
        $this->run('php', 'artisan', 'migrate', '--force');
        // OPcache would take a file for unchanged for 2 s.
        $options = ['-d', 'display_errors=0', '-d', 'opcache.enable=0'];
        $server = ['php', ...$options, '-S', '127.0.0.1:0', "$folder/public/index.php"];
        $environment = ['PATH' => (string) getenv('PATH'), 'PHP_CLI_SERVER_WORKERS' => '4'];
        $web = new Program('deployed-web', $server, $environment, $folder);
        $this->url = $web->waitFor('~\((http://127\.0\.0\.1:\d+)\) started~');
        $this->set(['APP_URL' => $this->url]);
    }

    /** Lines of .env. @param array<string, string> $variables */
    public function set(array $variables): void
    {
        $text = $this->files->exists("{$this->folder}/.env") ? $this->files->get("{$this->folder}/.env") : '';
        foreach ($variables as $name => $value) {
            $text = preg_replace("/^$name=.*\\n/m", '', $text) . "$name=$value\n";
        }
        // In one step: a request may be reading it.
        $this->files->put("{$this->folder}/.env.new", $text);
        rename("{$this->folder}/.env.new", "{$this->folder}/.env");
    }

    /** The package as the README says, from the path. @param array<string, mixed> $manifest lines for composer.json */
    public function install(array $manifest, string $command): void
    {
        $package = dirname(__DIR__, 2);
        $file = "{$this->folder}/composer.json";
        $composer = json_decode($this->files->get($file), true, 16, JSON_THROW_ON_ERROR);
        $required = array_keys(json_decode($this->files->get("$package/composer.json"), true)['require']);
        // The framework is there without Composer.
        $composer['provide'] = array_fill_keys(preg_grep('~/~', $required), '*');
        $manifest['repositories'][0]['url'] = $package;
        $composer['repositories'] = [...$manifest['repositories'], ...$composer['repositories']];
        $this->files->put($file, json_encode($composer, JSON_THROW_ON_ERROR));
        $this->run(...explode(' ', "$command --no-interaction --quiet"));
    }

    /** What a command writes; it must succeed. */
    public function run(string ...$command): string
    {
        $environment = ['HOME' => $this->folder, 'COMPOSER_ALLOW_SUPERUSER' => '1'];
        $process = new Process($command, $this->folder, $environment + self::cleared());
        $process->run();
        $output = $process->getOutput() . $process->getErrorOutput();
        if ($process->getExitCode() !== 0) {
            throw new RuntimeException(implode(' ', $command) . ": {$process->getExitCode()}\n$output");
        }

        return $output;
    }

    /** A command that goes on until the tests are over. */
    public function start(string $name, string ...$command): Program
    {
        return new Program("deployed-$name", $command, ['PATH' => (string) getenv('PATH')], $this->folder);
    }

    public function write(string $path, string $text): void
    {
        $this->files->ensureDirectoryExists(dirname("{$this->folder}/$path"));
        $this->files->put("{$this->folder}/$path", $text);
    }

    public function read(string $path): string
    {
        return $this->files->exists("{$this->folder}/$path") ? $this->files->get("{$this->folder}/$path") : '';
    }

    /** @param list<string> $values @return list<array<string, mixed>> */
    public function sql(string $sql, array $values = []): array
    {
        $statement = (new PDO("sqlite:{$this->folder}/storage/database.sqlite"))->prepare($sql);
        $statement->execute($values);

        return $statement->fetchAll(PDO::FETCH_ASSOC);
    }

    public function secret(): string
    {
        return self::SECRET;
    }

    /** What the tests' own application put into this process's environment. @return array<string, false> */
    private static function cleared(): array
    {
        $names = preg_grep('/^(APP_|WEBSOCKET_|QUEUE_|SIGNALING_TEST)/', array_keys($_SERVER + getenv()));

        return array_fill_keys($names, false);
    }
}
