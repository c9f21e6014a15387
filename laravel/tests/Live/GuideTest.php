<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Live;

use Illuminate\Http\Client\Factory;
use OnlyCare\Signaling\Tests\Support\Block;
use OnlyCare\Signaling\Tests\Support\Deployed;
use OnlyCare\Signaling\Tests\Support\Phone;
use OnlyCare\Signaling\Tests\Support\Program;
use OnlyCare\Signaling\Tests\Support\Stage;
use PHPUnit\Framework\TestCase;
use Symfony\Component\Process\ExecutableFinder;

/** docs/laravel.md from a backend like the deployed one to the end: what it says is done, what it promises is seen. */
final class GuideTest extends TestCase
{
    private const PATIENCE_SECONDS = 10;

    private Deployed $backend;

    private ?Program $server = null;

    private string $address = '';

    /** @var array<string, string> signaling's */
    private array $environment = ['WEBHOOK_ALLOW_PRIVATE' => 'true'];

    private string $output = '';

    private string $command = '';

    /** @var array<string, array{0: string, 1: string, 2: ?Phone}> id, token and phone by name */
    private array $users = [];

    /** As soon as it is made. */
    private string $webhookSecret = 'whsec_…';

    /** The call that the guide calls CALL_17642. */
    private string $call = '';

    public function test_the_guide_leads_from_the_deployed_backend_to_the_end(): void
    {
        if ((new ExecutableFinder())->find('composer') === null) {
            self::markTestSkipped('there is no composer here');
        }
        $this->backend = new Deployed(Stage::get()->folder . '/deployed');
        foreach (['ana', 'bo'] as $name) {
            $this->users[$name] = ["USR_$name", "token-of-$name", null];
            $row = ["USR_$name", $name, 'FEMALE', "fcm-token-of-$name", hash('sha256', "token-of-$name")];
            $columns = 'id, name, gender, fcm_token, api_token';
            $this->backend->sql("insert into users ($columns) values (?, ?, ?, ?, ?)", $row);
        }
        foreach (Block::of(dirname(__DIR__, 3) . '/docs/laravel.md') as $block) {
            match ($block->language) {
                'dotenv' => $this->configure($block),
                'sh' => $this->do($block),
                'text' => $this->see($block),
                'php' => $this->code($block),
            };
        }
    }

    private function configure(Block $block): void
    {
        $variables = parse_ini_string($this->filled($block->text), false, INI_SCANNER_RAW);
        if (str_contains($block->above, "Laravel's `.env`")) {
            $this->backend->set($variables);

            return;
        }
        self::assertMatchesRegularExpression("/(signaling's|its) environment/", $block->above);
        $this->environment = $variables + $this->environment;
        $this->server?->end();
        [$this->address, $this->server] = Stage::get()->bareServer($this->environment);
        $this->backend->set(['WEBSOCKET_URL' => $this->address]);
        foreach ($this->users as &$user) {
            $user[2] = new Phone($this->address, $user[0], $user[1]);
            $user[2]->await('session:ready');
        }
        if (isset($variables['LARAVEL_CALLBACKS'])) {
            $this->rowsFollowTheirCalls();
        }
    }

    private function do(Block $block): void
    {
        $step = $block->section[0];
        if (str_contains($block->text, 'signaling:install')) {
            $this->installs();
        }
        if (str_contains($block->text, 'CALL_17642') && is_numeric($step)) {
            match ($step) {
                '2' => $this->rejectsOverRest(),
                '3' => $this->call = $this->row(),
                '4' => $this->callsAClosedApp(),
            };
        }
        foreach (explode("\n", trim($this->filled($block->text))) as $command) {
            $this->command = $command;
            $this->output = $this->execute($command);
        }
        if (str_contains($block->text, 'signaling:install')) {
            preg_match('/^WEBHOOK_SECRET=(whsec_\S+)/m', $this->output, $made);
            $this->webhookSecret = $made[1];
        }
    }

    private function execute(string $command): string
    {
        $words = explode(' ', $command);
        if (str_contains($command, 'queue:work')) {
            // Kept alive, as by Supervisor.
            $keep = 'while :; do echo started; "$@" || sleep 0.1; done';
            $this->backend->start('worker', 'sh', '-c', $keep, 'worker', ...$words);

            return '';
        }
        if (str_contains($command, 'queue:restart')) {
            return $this->restartsTheWorker($words);
        }

        return $words[0] === 'curl' ? (new Factory())->get($words[1])->body() : $this->backend->run(...$words);
    }

    /**
     * Laravel takes a second restart within a second for the first.
     *
     * @param list<string> $words
     */
    private function restartsTheWorker(array $words): string
    {
        $starts = fn (): int => substr_count($this->backend->read('deployed-worker.log'), 'started');
        $before = $starts();
        $output = '';
        $this->until(function () use ($words, $starts, $before, &$output): bool {
            $output = $this->backend->run(...$words);

            return $starts() > $before;
        }, fn (): string => 'the worker did not restart');

        return $output;
    }

    /** Each line is there, in this order; what may take a moment is asked again. */
    private function see(Block $block): void
    {
        $pattern = '';
        foreach (explode("\n", rtrim($this->filled($block->text))) as $line) {
            $pattern .= '^' . str_replace('…', '.*', preg_quote($line, '/')) . '$(?s:.*)';
        }
        $repeats = preg_match('/curl|signaling:call/', $this->command) === 1;
        if ($repeats) {
            $this->until(function () use ($pattern): bool {
                $this->output = $this->execute($this->command);

                return preg_match("/$pattern/m", $this->output) === 1;
            }, fn (): string => "{$this->command} shows\n{$this->output}\nin place of\n$pattern");
        }
        self::assertMatchesRegularExpression("/$pattern/m", $this->output, $this->command);
        match ($block->section[0]) {
            'D' => $this->aCallIsAccepted(),
            '3' => str_contains($this->command, 'test-webhook') ? $this->webhooksAreHandled() : null,
            '4' => $this->pushesWere(['incoming_call', 'call_cancelled']),
            default => null,
        };
    }

    private function code(Block $block): void
    {
        if (preg_match('/^namespace App\\\\([\w\\\\]+);.*^(?:final )?class (\w+)/ms', $block->text, $class) === 1) {
            $path = 'app/' . strtr($class[1], '\\', '/') . "/$class[2].php";
            $this->backend->write($path, "<?php\n\n" . $block->text);

            return;
        }
        preg_match_all('/^use .*;\n/m', $block->text, $uses);
        $code = trim(preg_replace('/^use .*;\n/m', '', $block->text));
        if (str_contains($block->above, '`initiateCall`')) {
            $path = 'app/Http/Controllers/CallController.php';
            $push = '$this->sendPushNotification($receiver, $caller, $call->id, $call->call_type);';
            $text = str_replace($push, $code, $this->backend->read($path));
        } else {
            self::assertSame(1, preg_match('/In `(boot|register)\(\)`/', $block->above, $method), $block->above);
            $path = 'app/Providers/AppServiceProvider.php';
            $head = "public function $method[1](): void\n    {\n";
            $text = str_replace($head, "$head$code\n", $this->backend->read($path));
        }
        self::assertStringContainsString($code, $text);
        // What the file imports already is not imported twice.
        $new = array_filter($uses[0], fn (string $use): bool => !str_contains($text, $use));
        $this->backend->write($path, preg_replace('/^use /m', implode('', $new) . 'use ', $text, 1));
    }

    /** As the README of the package says. */
    private function installs(): void
    {
        $blocks = array_values(array_filter(
            Block::of(dirname(__DIR__, 2) . '/README.md'),
            fn (Block $block): bool => $block->section === 'Install',
        ));
        self::assertSame(['json', 'sh'], [$blocks[0]->language, $blocks[1]->language]);
        $this->backend->install(json_decode($blocks[0]->text, true), trim($blocks[1]->text));
    }

    private function aCallIsAccepted(): void
    {
        $this->call = $this->row();
        $this->dials('ana');
        $this->users['bo'][2]->expect('call:incoming');
        $this->rest('bo', "calls/{$this->call}/accept");
        self::assertSame($this->call, $this->users['ana'][2]->expect('call:accepted')['callId']);
        $this->users['ana'][2]->call('call:end', ['callId' => $this->call]);
        $this->rest('ana', "calls/{$this->call}/end");
    }

    private function rejectsOverRest(): void
    {
        $this->call = $this->row();
        $this->dials('ana');
        $this->users['bo'][2]->expect('call:incoming');
        $this->rest('bo', "calls/{$this->call}/reject");
        self::assertSame($this->call, $this->users['ana'][2]->expect('call:rejected')['callId']);
    }

    private function callsAClosedApp(): void
    {
        $this->users['bo'][2]->close();
        $this->backend->write('storage/pushes.log', '');
        $this->call = $this->row();
        $this->pushesWere(['incoming_call']);
        $this->rest('ana', "calls/{$this->call}/cancel");
    }

    private function webhooksAreHandled(): void
    {
        $this->becomes('MISSED');
        // A job that fails is kept.
        $fails = 'public function fire(): void { throw new \\RuntimeException(); }';
        $this->backend->write('app/Fails.php', "<?php\n\nnamespace App;\n\nfinal class Fails { $fails }\n");
        $payload = json_encode(['uuid' => 'fails', 'job' => 'App\\Fails@fire', 'data' => [], 'maxTries' => 1]);
        $columns = 'queue, payload, attempts, available_at, created_at';
        $this->backend->sql("insert into jobs ($columns) values ('default', ?, 0, 0, 0)", [$payload]);
        $kept = fn (): array => array_column($this->backend->sql('select uuid from failed_jobs'), 'uuid');
        $this->until(fn (): bool => $kept() === ['fails'], fn (): string => 'failed_jobs has ' . json_encode($kept()));
    }

    /** Without signaling's requests to Laravel's REST API. */
    private function rowsFollowTheirCalls(): void
    {
        $this->call = $this->row();
        $this->dials('ana');
        $this->users['bo'][2]->expect('call:incoming');
        $this->users['ana'][2]->call('call:cancel', ['callId' => $this->call]);
        $this->becomes('CANCELLED');
        // Answered on the socket alone.
        $this->call = $this->row();
        $this->dials('ana');
        while ($this->users['bo'][2]->expect('call:incoming')['callId'] !== $this->call) {
        }
        $this->users['bo'][2]->call('call:accept', ['callId' => $this->call]);
        $this->users['ana'][2]->expect('call:accepted');
        $this->users['ana'][2]->call('call:end', ['callId' => $this->call]);
        $this->becomes('ENDED');
    }

    /** A row that ana's app made by REST. */
    private function row(): string
    {
        $answer = $this->rest('ana', 'calls', ['receiver_id' => 'USR_bo', 'call_type' => 'AUDIO']);

        return $answer['data']['id'];
    }

    private function dials(string $caller): void
    {
        $call = $this->backend->sql('select * from calls where id = ?', [$this->call])[0];
        $this->users[$caller][2]->call('call:initiate', [
            'receiverId' => $call['receiver_id'],
            'callId' => $call['id'],
            'callType' => $call['call_type'],
            'channelName' => $call['channel_name'],
            'agoraToken' => $call['agora_token'],
        ]);
    }

    /** @return array<string, mixed> */
    private function rest(string $user, string $path, array $body = []): array
    {
        $request = (new Factory())->withToken($this->users[$user][1])->acceptJson();
        $answer = $request->post("{$this->backend->url}/api/v1/$path", $body);
        self::assertSame(200, $answer->status(), $answer->body() . $this->backend->read('storage/laravel.log'));

        return $answer->json();
    }

    private function becomes(string $status): void
    {
        $row = fn () => $this->backend->sql('select status from calls where id = ?', [$this->call])[0]['status'];
        $this->until(fn (): bool => $row() === $status, fn (): string => "it is {$row()} and not $status");
        self::assertSame($status, $row());
    }

    /** @param list<string> $types */
    private function pushesWere(array $types): void
    {
        $sent = function (): array {
            $lines = array_filter(explode("\n", $this->backend->read('storage/pushes.log')));
            $pushes = array_map(fn (string $line): array => json_decode($line, true), $lines);
            $own = array_filter($pushes, fn (array $push): bool => $push['data']['callId'] === $this->call);

            return array_column(array_column($own, 'data'), 'type');
        };
        $this->until(fn (): bool => count($sent()) >= count($types), fn (): string => json_encode($sent()));
        self::assertSame($types, $sent());
    }

    private function filled(string $text): string
    {
        return strtr($text, [
            'the-value-of-WEBSOCKET_SECRET' => $this->backend->secret(),
            'https://api.example.com' => $this->backend->url,
            'http://signaling.example.com:3001' => $this->address,
            'CALL_17642' => $this->call,
            'whsec_…' => $this->webhookSecret,
        ]);
    }

    /** @param callable(): bool $done @param callable(): string $instead */
    private function until(callable $done, callable $instead): void
    {
        $deadline = microtime(true) + self::PATIENCE_SECONDS;
        while (!$done()) {
            if (microtime(true) > $deadline) {
                $logs = $this->backend->read('deployed-worker.log') . $this->backend->read('storage/laravel.log');
                self::fail($instead() . "\n" . $logs);
            }
            usleep(50_000);
        }
    }
}
