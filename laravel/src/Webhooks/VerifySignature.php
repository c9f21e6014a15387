<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

use Closure;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Http\Request;
use Illuminate\Support\Carbon;
use Symfony\Component\HttpFoundation\Response;

/** Lets in what the signaling server signed. */
final class VerifySignature
{
    public function __construct(private readonly Config $config)
    {
    }

    public function handle(Request $request, Closure $next): Response
    {
        $signature = new WebhookSignature(
            (string) $this->config->get('websocket.webhook_secret'),
            (int) $this->config->get('websocket.webhook_tolerance', 300),
        );
        $accepted = $signature->accepts(
            (string) $request->header('webhook-id'),
            (string) $request->header('webhook-timestamp'),
            (string) $request->header('webhook-signature'),
            $request->getContent(),
            Carbon::now()->getTimestamp(),
        );
        if (!$accepted) {
            return response()->json(['error' => 'Unauthorized'], 401);
        }

        return $next($request);
    }
}
