<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Webhooks;

use Closure;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Http\Request;
use Illuminate\Support\Carbon;
use InvalidArgumentException;
use OnlyCare\Signaling\Events\WebhookRefused;
use OnlyCare\Signaling\Support\RareLog;
use Symfony\Component\HttpFoundation\Response;

/** Lets in what the signaling server signed. */
final class VerifySignature
{
    public function __construct(
        private readonly Config $config,
        private readonly Dispatcher $events,
        private readonly RareLog $log,
    ) {
    }

    public function handle(Request $request, Closure $next): Response
    {
        try {
            $signature = WebhookSignature::fromConfig($this->config);
        } catch (InvalidArgumentException $unusable) {
            // Not 401: it is no fault of the sender's, who keeps it.
            $this->log->error('webhooks are answered 503, WEBSOCKET_WEBHOOK_SECRET: ' . $unusable->getMessage());

            return response()->json(['error' => 'The secret is unusable', 'code' => 'secret_unusable'], 503);
        }
        $refusal = $signature->refusal(
            (string) $request->header('webhook-id'),
            (string) $request->header('webhook-timestamp'),
            (string) $request->header('webhook-signature'),
            $request->getContent(),
            Carbon::now()->getTimestamp(),
        );
        if ($refusal !== null) {
            if ($this->log->warning("a webhook was answered 401: {$refusal->text()}", ['ip' => $request->ip()])) {
                $this->events->dispatch(new WebhookRefused($refusal, $request->ip()));
            }

            return response()->json(['error' => 'Unauthorized'], 401);
        }

        return $next($request);
    }
}
