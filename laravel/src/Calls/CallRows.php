<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Calls;

use BackedEnum;
use Illuminate\Contracts\Config\Repository as Config;
use Illuminate\Database\Eloquent\Model;

/** The application's call model, by its configured columns and statuses. */
final class CallRows
{
    private const COLUMNS = ['id' => 'id', 'caller' => 'caller_id', 'receiver' => 'receiver_id', 'status' => 'status'];

    public function __construct(private readonly Config $config)
    {
    }

    /** @return class-string<Model>|null null also where what is configured is no model */
    public function model(): ?string
    {
        $model = $this->fault() === null ? $this->config->get('websocket.call_model') : null;

        return $model === '' ? null : $model;
    }

    /** What is wrong with the configured model. */
    public function fault(): ?string
    {
        $model = $this->config->get('websocket.call_model');
        if ($model === null || $model === '' || (is_string($model) && is_subclass_of($model, Model::class))) {
            return null;
        }

        return 'WEBSOCKET_CALL_MODEL names no Eloquent model: ' . (is_string($model) ? $model : gettype($model));
    }

    /**
     * Of the primary and in spite of the application's scopes: a worker serves no tenant, and a replica may not have
     * what was just committed.
     */
    public function find(string $callId): ?Model
    {
        $model = $this->model();
        foreach ($model === null ? [] : $this->spellings(new $model(), $callId) as $id) {
            $row = $model::query()->withoutGlobalScopes()->useWritePdo()->where($this->column('id'), $id)->first();
            if ($row !== null) {
                return $row;
            }
        }

        return null;
    }

    /** The transition that the row's status stands for; null: one that nobody is told of. */
    public function transition(Model $row, ?string $endedBy = null): ?CallTransition
    {
        $kind = $this->kind($row);
        if ($kind === null) {
            return null;
        }
        $caller = (string) $this->value($row, 'caller');
        $receiver = (string) $this->value($row, 'receiver');

        return new CallTransition(
            $kind,
            (string) $this->value($row, 'id'),
            $caller,
            $receiver,
            $this->value($row, 'reason'),
            in_array($endedBy, [$caller, $receiver], true) ? $endedBy : null,
        );
    }

    /** Whether the row's status changed with its last save. */
    public function statusChanged(Model $row): bool
    {
        return $row->wasChanged($this->column('status'));
    }

    public function kind(Model $row): ?TransitionKind
    {
        $kind = $this->config->get('websocket.call_statuses', [])[(string) $this->value($row, 'status')] ?? null;

        return $kind instanceof TransitionKind ? $kind : TransitionKind::tryFrom((string) $kind);
    }

    /**
     * A webhook names the call as a phone may have initiated it: `CALL_123` and `123` are one.
     *
     * @return list<string> as it came first
     */
    private function spellings(Model $model, string $callId): array
    {
        $bare = (string) preg_replace('/^(CALL_)+/', '', $callId);
        $isNumber = $model->getKeyType() === 'int' && $model->getKeyName() === $this->column('id');

        return $isNumber ? [$bare] : array_values(array_unique([$callId, "CALL_$bare", $bare]));
    }

    private function value(Model $row, string $name): ?string
    {
        $column = $this->column($name);
        $value = $column === null ? null : $row->getAttribute($column);

        return match (true) {
            $value === null => null,
            $value instanceof BackedEnum => (string) $value->value,
            default => (string) $value,
        };
    }

    private function column(string $name): ?string
    {
        // Who names only the reason's column means the others as they are.
        return ((array) $this->config->get('websocket.call_columns') + self::COLUMNS)[$name] ?? null;
    }
}
