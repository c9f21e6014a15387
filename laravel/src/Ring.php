<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

/** The answer to a ring: what a phone hears as the acknowledgement of its call:initiate. */
final class Ring
{
    private function __construct(
        /** Whether a device of the callee rings. */
        public readonly bool $ringing,
        /** The callee is in another call. */
        public readonly bool $busy,
        /** No device is connected: the call is tracked, and needs a push. */
        public readonly bool $needsPush,
        public readonly ?string $error,
        public readonly ?string $errorCode,
        /** @var array<string, mixed> */
        public readonly array $answer,
    ) {
    }

    /** Whether nothing came of it: nobody rings, is busy or is to be woken. `error` says why, `errorCode` in one word. */
    public function refused(): bool
    {
        return !$this->ringing && !$this->busy && !$this->needsPush;
    }

    /** @param array<string, mixed> $answer */
    public static function fromAnswer(array $answer): self
    {
        $needsPush = (bool) ($answer['useFcmFallback'] ?? false);
        $busy = (bool) ($answer['busy'] ?? false);

        return new self(
            ($answer['success'] ?? false) === true && !$needsPush && !$busy,
            $busy,
            $needsPush,
            isset($answer['error']) ? (string) $answer['error'] : null,
            isset($answer['code']) ? (string) $answer['code'] : null,
            $answer,
        );
    }
}
