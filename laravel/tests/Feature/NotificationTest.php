<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Feature;

use Illuminate\Notifications\Notification;
use Illuminate\Notifications\NotificationServiceProvider;
use Illuminate\Support\Facades\Notification as Notifications;
use InvalidArgumentException;
use OnlyCare\Signaling\Facades\Signaling;
use OnlyCare\Signaling\Notifications\AppEvent;
use OnlyCare\Signaling\Tests\TestCase;

final class NotificationTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        $this->app->register(NotificationServiceProvider::class);
        Signaling::fake();
    }

    public function test_a_notification_reaches_the_devices_of_a_model(): void
    {
        [$ana] = $this->user('ana');
        Notifications::sendNow($ana, $this->gift(new AppEvent('app:gift', ['coins' => 10])));
        Signaling::assertEmitted($ana->id, 'app:gift', ['coins' => 10]);
    }

    public function test_and_those_of_a_route(): void
    {
        $gift = $this->gift(new AppEvent('app:gift'));
        Notifications::route('signaling', 'USR_1')->notifyNow($gift);
        Signaling::assertEmitted('USR_1', 'app:gift');
    }

    public function test_what_is_no_event_of_the_application_is_refused(): void
    {
        $gift = ['app:gift', ['coins' => 10]];
        foreach ([$gift, null, new AppEvent('call:ended')] as $answer) {
            try {
                Notifications::route('signaling', 'USR_1')->notifyNow($this->gift($answer));
                self::fail('it was sent');
            } catch (InvalidArgumentException) {
            }
        }
        Signaling::assertNothingSent();
    }

    private function gift(mixed $answer): Notification
    {
        return new class ($answer) extends Notification {
            public function __construct(private mixed $answer)
            {
            }

            /** @return list<string> */
            public function via(): array
            {
                return ['signaling'];
            }

            public function toSignaling(): mixed
            {
                return $this->answer;
            }
        };
    }
}
