<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Notifications;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Notifications\Notification;
use InvalidArgumentException;
use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\WebSocketService;

/** The notification channel `signaling`: to every connected device of a user, and to nobody later. */
final class SignalingChannel
{
    public function __construct(private readonly WebSocketService $signaling)
    {
    }

    /**
     * @return bool whether the user has a live connection
     *
     * @throws SignalingException
     */
    public function send(object $notifiable, Notification $notification): bool
    {
        if (!method_exists($notification, 'toSignaling')) {
            throw new InvalidArgumentException(get_class($notification) . ' has no toSignaling()');
        }
        $event = $notification->toSignaling($notifiable);
        if (!$event instanceof AppEvent) {
            throw new InvalidArgumentException(get_class($notification) . '::toSignaling() answers no AppEvent');
        }

        return $this->signaling->emit($this->user($notifiable, $notification), $event->event, $event->data);
    }

    private function user(object $notifiable, Notification $notification): string
    {
        $route = method_exists($notifiable, 'routeNotificationFor')
            ? $notifiable->routeNotificationFor('signaling', $notification)
            : null;
        $user = $route ?? ($notifiable instanceof Model ? $notifiable->getKey() : null);
        if (!is_string($user) && !is_int($user)) {
            throw new InvalidArgumentException(get_class($notifiable) . ' has no route for the channel signaling');
        }

        return (string) $user;
    }
}
