<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

/** A call as signaling knows it, in a webhook or asked for. Times are milliseconds since the epoch. */
final class CallSnapshot
{
    private function __construct(
        public readonly string $callId,
        /** Rises with every event of this call: what has a lower one is older. */
        public readonly int $seq,
        /** Null where it is one that only a newer server knows. */
        public readonly ?CallState $state,
        public readonly ?string $callerId,
        public readonly ?string $receiverId,
        public readonly ?string $callType,
        public readonly ?int $createdAt,
        public readonly ?int $ringingAt,
        public readonly ?int $acceptedAt,
        public readonly ?int $endedAt,
        public readonly ?int $durationMs,
        /** Like durationMs, until the last moment both were there: what to bill. */
        public readonly ?int $talkMs,
        /** @var array<string, int> talkMs by type: AUDIO, VIDEO, UNKNOWN */
        public readonly array $talkMsByType,
        /** From the first word of the call to its answer, or to its end without one. */
        public readonly ?int $ringMs,
        /** Until the first device rang. */
        public readonly ?int $confirmMs,
        public readonly int $callerReconnects,
        public readonly int $callerAwayMs,
        public readonly int $receiverReconnects,
        public readonly int $receiverAwayMs,
        /** Since when a party was away that did not come back before the end. */
        public readonly ?int $absentSince,
        public readonly ?EndReason $reason,
        public readonly ?string $endedBy,
        public readonly ?int $expiresAt,
        /** @var list<array<string, mixed>> milestones, if asked for */
        public readonly array $timeline,
        /** @var array<string, mixed> all that was sent */
        public readonly array $fields,
    ) {
    }

    /** @param array<string, mixed> $fields */
    public static function fromFields(array $fields): self
    {
        $text = static fn (string $name): ?string =>
            is_string($fields[$name] ?? null) || is_int($fields[$name] ?? null) ? (string) $fields[$name] : null;
        $number = static fn (string $name): ?int => is_numeric($fields[$name] ?? null) ? (int) $fields[$name] : null;
        $reason = $text('reason');

        return new self(
            $text('callId') ?? '',
            $number('seq') ?? 0,
            CallState::tryFrom($text('state') ?? ''),
            $text('callerId'),
            $text('receiverId'),
            $text('callType'),
            $number('createdAt'),
            $number('ringingAt'),
            $number('acceptedAt'),
            $number('endedAt'),
            $number('durationMs'),
            $number('talkMs'),
            array_map('intval', is_array($fields['talkMsByType'] ?? null) ? $fields['talkMsByType'] : []),
            $number('ringMs'),
            $number('confirmMs'),
            $number('callerReconnects') ?? 0,
            $number('callerAwayMs') ?? 0,
            $number('receiverReconnects') ?? 0,
            $number('receiverAwayMs') ?? 0,
            $number('absentSince'),
            $reason === null ? null : EndReason::tryFrom($reason) ?? EndReason::Other,
            $text('endedBy'),
            $number('expiresAt'),
            is_array($fields['timeline'] ?? null) ? array_values($fields['timeline']) : [],
            $fields,
        );
    }
}
