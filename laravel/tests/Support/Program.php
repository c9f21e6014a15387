<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Support;

use RuntimeException;

/** A child process in a group of its own, ended with all its children when the tests are over. */
final class Program
{
    private const START_SECONDS = 15;
    private const LOG_LINES = 30;

    /** @var list<self> */
    private static array $running = [];

    /** @var resource */
    private $process;

    private readonly int $pid;

    /**
     * @param list<string>          $command
     * @param array<string, string> $environment
     */
    public function __construct(private readonly string $name, array $command, array $environment, string $folder)
    {
        if (self::$running === []) {
            register_shutdown_function(self::endAll(...));
            pcntl_async_signals(true);
            foreach ([SIGINT, SIGTERM, SIGHUP] as $signal) {
                pcntl_signal($signal, static fn () => exit(1));
            }
        }
        $this->log = "$folder/$name.log";
        $output = ['file', $this->log, 'w'];
        $process = proc_open(['setsid', ...$command], [1 => $output, 2 => $output], $pipes, $folder, $environment);
        if ($process === false) {
            throw new RuntimeException("$name can't be started");
        }
        $this->process = $process;
        $this->pid = proc_get_status($process)['pid'];
        self::$running[] = $this;
    }

    private readonly string $log;

    /** The first group of the pattern, as soon as it is in the output. */
    public function waitFor(string $pattern): string
    {
        $deadline = microtime(true) + self::START_SECONDS;
        while (preg_match($pattern, $this->output(), $match) !== 1) {
            if (!proc_get_status($this->process)['running'] || microtime(true) > $deadline) {
                throw new RuntimeException("{$this->name} did not start:\n" . $this->lastLines());
            }
            usleep(10_000);
        }

        return $match[1] ?? '';
    }

    public function end(): void
    {
        posix_kill(-$this->pid, SIGKILL);
        proc_close($this->process);
        self::$running = array_filter(self::$running, fn (self $one) => $one !== $this);
    }

    public function output(): string
    {
        return (string) file_get_contents($this->log);
    }

    public function lastLines(): string
    {
        return implode("\n", array_slice(explode("\n", $this->output()), -self::LOG_LINES));
    }

    private static function endAll(): void
    {
        foreach (self::$running as $program) {
            $program->end();
        }
    }
}
