<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Support;

/** A fenced block of a document, with its section and the paragraph above it. */
final class Block
{
    private function __construct(
        public readonly string $section,
        public readonly string $above,
        public readonly string $language,
        public readonly string $text,
    ) {
    }

    /** @return list<self> */
    public static function of(string $file): array
    {
        $blocks = [];
        $section = $above = '';
        $pattern = '/^## (?<section>[^\n]*)$|^```(?<language>\w+)\n(?<text>.*?)^```$'
            . '|^(?<above>(?!```|#)\S[^\n]*(?:\n(?!```)[^\n]+)*)$/ms';
        preg_match_all($pattern, (string) file_get_contents($file), $parts, PREG_SET_ORDER | PREG_UNMATCHED_AS_NULL);
        foreach ($parts as $part) {
            $section = $part['section'] ?? $section;
            $above = $part['above'] ?? $above;
            if ($part['language'] !== null) {
                $blocks[] = new self($section, $above, $part['language'], $part['text']);
                $above = '';
            }
        }

        return $blocks;
    }
}
