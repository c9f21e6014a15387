<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Health;

/** What a check found. */
final class Check
{
    private function __construct(
        public readonly string $name,
        public readonly Status $status,
        public readonly string $detail,
    ) {
    }

    public static function ok(string $name, string $detail): self
    {
        return new self($name, Status::Ok, $detail);
    }

    public static function warning(string $name, string $detail): self
    {
        return new self($name, Status::Warning, $detail);
    }

    public static function failed(string $name, string $detail): self
    {
        return new self($name, Status::Failed, $detail);
    }

    public static function skipped(string $name, string $detail): self
    {
        return new self($name, Status::Skipped, $detail);
    }

    /** @return array{name: string, status: string, detail: string} */
    public function toArray(): array
    {
        return ['name' => $this->name, 'status' => $this->status->value, 'detail' => $this->detail];
    }
}
