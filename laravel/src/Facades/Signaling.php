<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Facades;

use Illuminate\Support\Facades\Facade;
use OnlyCare\Signaling\Calls\TransitionKind;
use OnlyCare\Signaling\CallSnapshot;
use OnlyCare\Signaling\Outcome;
use OnlyCare\Signaling\Ring;
use OnlyCare\Signaling\SignalingClient;
use OnlyCare\Signaling\Testing\FakeClient;
use OnlyCare\Signaling\Testing\SignalingFake;
use OnlyCare\Signaling\WebSocketService;

/**
 * @method static bool isUserOnline(string $userId)
 * @method static list<string> getConnectedUsers()
 * @method static ?array getHealthStatus()
 * @method static bool isServerAvailable()
 * @method static array<array-key, bool> usersOnline(iterable $userIds)
 * @method static Ring ring(string $callId, string $callerId, ?string $callerName, string $receiverId, ...$more)
 * @method static ?CallSnapshot callState(string $callId)
 * @method static bool emit(string $userId, string $event, array $data = [])
 * @method static void disconnect(string $userId, string $reason = 'Disconnected')
 * @method static Outcome callAccepted(string $callId, string $callerId, string $receiverId, ...$more)
 * @method static Outcome callRejected(string $callId, string $callerId, string $receiverId, ...$more)
 * @method static Outcome callCancelled(string $callId, string $receiverId, ?string $reason = null)
 * @method static Outcome callEnded(string $callId, ?string $endedBy = null, ?string $reason = null)
 * @method static void assertRang(string $callId, ?string $receiverId = null)
 * @method static void assertNothingRang()
 * @method static void assertTold(TransitionKind $kind, string $callId)
 * @method static void assertNotTold(?string $callId = null)
 * @method static void assertEmitted(string $userId, string $event, ?array $data = null)
 * @method static void assertDisconnected(string $userId)
 * @method static void assertNothingSent()
 *
 * @see WebSocketService
 * @see SignalingFake
 */
final class Signaling extends Facade
{
    /** No request leaves; what would have been sent can be asserted. The observer and own subclasses are faked along. */
    public static function fake(): SignalingFake
    {
        $client = new FakeClient();
        $fake = new SignalingFake($client);
        static::getFacadeApplication()->instance(SignalingClient::class, $client);
        static::swap($fake);

        return $fake;
    }

    protected static function getFacadeAccessor(): string
    {
        return WebSocketService::class;
    }
}
