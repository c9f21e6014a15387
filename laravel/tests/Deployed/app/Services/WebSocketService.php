<?php

declare(strict_types=1);

namespace App\Services;

use Illuminate\Support\Facades\Http;
use Throwable;

class WebSocketService
{
    public function isUserOnline(string $userId): bool
    {
        return ($this->ask("/api/users/$userId/online")['isOnline'] ?? false) === true;
    }

    public function getConnectedUsers(): array
    {
        return $this->ask('/api/connected-users')['users'] ?? [];
    }

    public function getHealthStatus(): ?array
    {
        return $this->ask('/health');
    }

    public function isServerAvailable(): bool
    {
        return ($this->getHealthStatus()['status'] ?? '') === 'OK';
    }

    private function ask(string $path): ?array
    {
        try {
            return Http::timeout(2)->get(config('websocket.url') . $path)->json();
        } catch (Throwable) {
            return null;
        }
    }
}
