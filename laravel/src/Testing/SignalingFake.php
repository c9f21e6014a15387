<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Testing;

use OnlyCare\Signaling\Calls\TransitionKind;
use OnlyCare\Signaling\WebSocketService;
use PHPUnit\Framework\Assert;

/** In the place of the service in an application's tests: `Signaling::fake()`. */
final class SignalingFake extends WebSocketService
{
    public function __construct(private readonly FakeClient $fake)
    {
        parent::__construct($fake);
    }

    /** These users are online, all others not. */
    public function online(string ...$userIds): self
    {
        $this->fake->online = array_values($userIds);

        return $this;
    }

    public function answersRingsBusy(): self
    {
        return $this->answersRings(['success' => false, 'busy' => true, 'error' => 'User is busy']);
    }

    public function answersRingsNeedsPush(): self
    {
        return $this->answersRings(['success' => false, 'useFcmFallback' => true, 'error' => 'User offline']);
    }

    public function answersRingsRefused(string $code = 'rate_limited'): self
    {
        return $this->answersRings(['success' => false, 'error' => 'Refused', 'code' => $code]);
    }

    /** @param array<string, mixed> $fields what callState() finds, at least a callId */
    public function knowsCall(array $fields): self
    {
        $this->fake->calls[(string) $fields['callId']] = $fields;

        return $this;
    }

    /** As if no node answered. */
    public function down(bool $down = true): self
    {
        $this->fake->down = $down;

        return $this;
    }

    public function assertRang(string $callId, ?string $receiverId = null): void
    {
        $rang = $this->sent('/api/calls', ['callId' => $callId] + array_filter(['receiverId' => $receiverId]));
        Assert::assertNotSame([], $rang, "no ring of $callId" . $this->insteadOf());
    }

    public function assertNothingRang(): void
    {
        Assert::assertSame([], $this->sent('/api/calls'), 'somebody was rung');
    }

    public function assertTold(TransitionKind $kind, string $callId): void
    {
        $told = $this->sent($this->endpoint($kind), ['callId' => $callId]);
        Assert::assertNotSame([], $told, "$callId was not told as {$kind->value}" . $this->insteadOf());
    }

    /** No transition was told, of this call or of any. */
    public function assertNotTold(?string $callId = null): void
    {
        foreach (TransitionKind::cases() as $kind) {
            $told = $this->sent($this->endpoint($kind), array_filter(['callId' => $callId]));
            Assert::assertSame([], $told, "{$kind->value} was told");
        }
    }

    /** @param ?array<string, mixed> $data */
    public function assertEmitted(string $userId, string $event, ?array $data = null): void
    {
        foreach ($this->sent('/api/users/' . rawurlencode($userId) . '/emit', ['event' => $event]) as $body) {
            if ($data === null || (array) $body['data'] == $data) {
                Assert::assertTrue(true);

                return;
            }
        }
        Assert::fail("no $event was emitted to $userId" . $this->insteadOf());
    }

    public function assertDisconnected(string $userId): void
    {
        $gone = $this->sent('/api/users/' . rawurlencode($userId) . '/disconnect');
        Assert::assertNotSame([], $gone, "$userId was not disconnected" . $this->insteadOf());
    }

    public function assertNothingSent(): void
    {
        Assert::assertSame([], $this->fake->sent, 'something was sent');
    }

    /** @param array<string, mixed> $answer */
    private function answersRings(array $answer): self
    {
        $this->fake->ring = $answer;

        return $this;
    }

    /** A row that was missed is told as a cancel. */
    private function endpoint(TransitionKind $kind): string
    {
        return '/api/emit/call-' . ($kind === TransitionKind::Missed ? TransitionKind::Cancelled : $kind)->value;
    }

    /**
     * @param array<string, mixed> $fields
     *
     * @return list<array<string, mixed>> bodies
     */
    private function sent(string $path, array $fields = []): array
    {
        $matching = array_filter($this->fake->sent, static fn (array $request): bool => $request['path'] === $path
            && array_intersect_key($request['body'], $fields) == $fields);

        return array_column($matching, 'body');
    }

    private function insteadOf(): string
    {
        return ', sent was ' . json_encode($this->fake->sent, JSON_UNESCAPED_SLASHES);
    }
}
