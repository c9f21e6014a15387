<?php

declare(strict_types=1);

namespace OnlyCare\Signaling;

use Illuminate\Support\Facades\Log;
use InvalidArgumentException;
use OnlyCare\Signaling\Exceptions\SignalingException;
use OnlyCare\Signaling\Exceptions\SignalingRefused;
use OnlyCare\Signaling\Exceptions\SignalingUnavailable;

/**
 * What Laravel asks and tells the signaling server.
 *
 * The four methods of the deployed class never throw. All others throw a SignalingException: Unavailable if trying
 * again may help, Refused if not. None takes longer than the configured timeout.
 */
class WebSocketService
{
    private const IDS_PER_REQUEST = 1000;

    private SignalingClient $client;

    /** Takes no argument where the application makes it by hand, as the deployed class is made. */
    public function __construct(?SignalingClient $client = null)
    {
        $this->client = $client ?? app(SignalingClient::class);
    }

    public function isUserOnline(string $userId): bool
    {
        $answer = $this->quietly('/api/users/' . rawurlencode($userId) . '/online');

        return ($answer['isOnline'] ?? false) === true;
    }

    /** @return list<string> */
    public function getConnectedUsers(): array
    {
        $users = $this->quietly('/api/connected-users')['users'] ?? [];

        return is_array($users) ? $users : [];
    }

    /** @return array<string, mixed>|null */
    public function getHealthStatus(): ?array
    {
        return $this->quietly('/health');
    }

    public function isServerAvailable(): bool
    {
        return ($this->getHealthStatus()['status'] ?? '') === 'OK';
    }

    /**
     * @param iterable<string> $userIds
     *
     * @return array<array-key, bool> by user id
     *
     * @throws SignalingException
     */
    public function usersOnline(iterable $userIds): array
    {
        $ids = array_values(array_unique([...$userIds]));
        $online = [];
        foreach (array_chunk($ids, self::IDS_PER_REQUEST) as $some) {
            $answer = $this->client->post('/api/users/online', ['userIds' => $some]);
            $online += array_map(boolval(...), (array) ($answer['users'] ?? []));
        }

        return $online;
    }

    /**
     * Rings the callee at once, without waiting for the caller's connection.
     *
     * @param array<string, mixed> $fields channelName, agoraToken and whatever else the ring screen is to get
     *
     * @throws SignalingException
     */
    public function ring(
        string $callId,
        string $callerId,
        ?string $callerName,
        string $receiverId,
        string $callType,
        array $fields = [],
        ?int $ringTimeoutMs = null,
    ): Ring {
        $call = compact('callId', 'callerId', 'callerName', 'receiverId', 'callType', 'ringTimeoutMs');
        try {
            return Ring::fromAnswer($this->client->post('/api/calls', $call + $fields));
        } catch (SignalingRefused $refused) {
            // A ring that was decided against is an answer, not a failure.
            if (array_key_exists('success', $refused->answer)) {
                return Ring::fromAnswer($refused->answer);
            }
            throw $refused;
        }
    }

    /**
     * The call with its timeline, while signaling remembers it.
     *
     * @throws SignalingException
     */
    public function callState(string $callId): ?CallSnapshot
    {
        try {
            return CallSnapshot::fromFields($this->client->get('/api/calls/' . rawurlencode($callId)));
        } catch (SignalingRefused $refused) {
            if ($refused->errorCode === 'call_not_found') {
                return null;
            }
            throw $refused;
        }
    }

    /**
     * Sends an event of the application's own to every device of a user.
     *
     * @param string               $event begins with `app:`
     * @param array<string, mixed> $data
     *
     * @return bool whether the user has a live connection
     *
     * @throws SignalingException
     */
    public function emit(string $userId, string $event, array $data = []): bool
    {
        if (!str_starts_with($event, 'app:')) {
            throw new InvalidArgumentException("an event of the application begins with app:, '$event' does not");
        }
        $path = '/api/users/' . rawurlencode($userId) . '/emit';
        $answer = $this->client->post($path, ['event' => $event, 'data' => (object) $data]);

        return ($answer['emitted'] ?? false) === true;
    }

    /**
     * Disconnects every device of a user for good, as for a banned one or a revoked token.
     *
     * @throws SignalingException
     */
    public function disconnect(string $userId, string $reason = 'Disconnected'): void
    {
        $this->client->post('/api/users/' . rawurlencode($userId) . '/disconnect', ['reason' => $reason]);
    }

    /** @throws SignalingException */
    public function callAccepted(
        string $callId,
        string $callerId,
        string $receiverId,
        ?string $deviceId = null,
    ): Outcome {
        return $this->tell('call-accepted', compact('callId', 'callerId', 'receiverId', 'deviceId'));
    }

    /** @throws SignalingException */
    public function callRejected(string $callId, string $callerId, string $receiverId, ?string $reason = null): Outcome
    {
        return $this->tell('call-rejected', compact('callId', 'callerId', 'receiverId', 'reason'));
    }

    /** @throws SignalingException */
    public function callCancelled(string $callId, string $receiverId, ?string $reason = null): Outcome
    {
        return $this->tell('call-cancelled', compact('callId', 'receiverId', 'reason'));
    }

    /**
     * @param ?string $endedBy the party who hung up; without it both are told
     *
     * @throws SignalingException
     */
    public function callEnded(string $callId, ?string $endedBy = null, ?string $reason = null): Outcome
    {
        return $this->tell('call-ended', compact('callId', 'endedBy', 'reason'));
    }

    /** @param array<string, ?string> $body */
    private function tell(string $transition, array $body): Outcome
    {
        return Outcome::fromAnswer($this->client->post("/api/emit/$transition", $body));
    }

    /** @return array<string, mixed>|null */
    private function quietly(string $path): ?array
    {
        try {
            return $this->client->get($path);
        } catch (SignalingException $failure) {
            if (!($failure instanceof SignalingUnavailable && $failure->skipped)) {
                Log::warning($failure->getMessage());
            }

            return null;
        }
    }
}
