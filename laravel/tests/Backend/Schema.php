<?php

declare(strict_types=1);

namespace OnlyCare\Signaling\Tests\Backend;

use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema as Builder;

final class Schema
{
    public static function create(): void
    {
        Builder::create('users', function (Blueprint $table): void {
            $table->string('id')->primary();
            $table->string('name');
            $table->string('gender');
            $table->string('profile_image')->nullable();
            $table->string('fcm_token')->nullable();
            $table->string('api_token')->unique();
        });
        Builder::create('calls', function (Blueprint $table): void {
            $table->string('id')->primary();
            $table->string('caller_id');
            $table->string('receiver_id');
            $table->string('call_type');
            $table->string('status');
            $table->string('channel_name');
            $table->string('agora_token')->nullable();
            $table->integer('duration')->default(0);
            $table->integer('rating')->nullable();
        });
        Builder::create('jobs', function (Blueprint $table): void {
            $table->id();
            $table->string('queue')->index();
            $table->longText('payload');
            $table->unsignedTinyInteger('attempts');
            $table->unsignedInteger('reserved_at')->nullable();
            $table->unsignedInteger('available_at');
            $table->unsignedInteger('created_at');
        });
        Builder::create('pushes', function (Blueprint $table): void {
            $table->id();
            $table->string('call_id');
            $table->string('token');
            $table->text('data');
            $table->text('android');
        });
        Builder::create('events', function (Blueprint $table): void {
            $table->id();
            $table->string('type');
            $table->string('webhook_id');
            $table->string('subject');
            $table->integer('seq')->nullable();
            $table->text('fields')->nullable();
        });
    }
}
