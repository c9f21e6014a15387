<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use Closure;
use Illuminate\Cache\FileStore;
use Illuminate\Cache\Repository;
use Illuminate\Contracts\Cache\Factory as Caches;
use Illuminate\Filesystem\Filesystem;
use OnlyCare\Signaling\Health\Probe;
use OnlyCare\Signaling\Tests\Support\Stage;
use OnlyCare\Signaling\Tests\TestCase;

/** The marks of a check, in the cache that Laravel has where nobody chose one: files. */
final class ProbeTest extends TestCase
{
    public function test_a_mark_that_is_looked_for_while_it_is_written(): void
    {
        $expected = false;
        $looked = [];
        $probe = $this->probe(function (Probe $probe) use (&$expected, &$looked): void {
            if ($expected) {
                $looked[] = $probe->has('check', Probe::HANDLED);
            }
        });
        $probe->expect('check', Probe::HANDLED);
        $expected = true;
        $probe->mark('check', Probe::HANDLED);
        self::assertSame([false], $looked);
        self::assertTrue($probe->has('check', Probe::HANDLED));
        self::assertFalse($probe->has('check', Probe::ARRIVED));
    }

    /** A cache of files whose writer is held up between opening a file and writing it. @param Closure(Probe): void $then */
    private function probe(Closure $then): Probe
    {
        $files = new class extends Filesystem {
            /** @var Closure(): void */
            public Closure $opened;

            public function put($path, $contents, $lock = false)
            {
                $file = fopen($path, 'c');
                ($this->opened)();
                ftruncate($file, 0);
                $written = fwrite($file, $contents);
                fclose($file);

                return $written;
            }
        };
        $caches = new class (new Repository(new FileStore($files, Stage::get()->folder . '/probe'))) implements Caches {
            public function __construct(private readonly Repository $files)
            {
            }

            public function store($name = null)
            {
                return $this->files;
            }
        };
        $probe = new Probe($caches);
        $files->opened = fn () => $then($probe);

        return $probe;
    }
}
