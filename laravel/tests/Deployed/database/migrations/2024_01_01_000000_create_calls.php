<?php

declare(strict_types=1);

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration {
    public function up(): void
    {
        Schema::create('users', function (Blueprint $table): void {
            $table->string('id')->primary();
            $table->string('name');
            $table->string('gender');
            $table->string('profile_image')->nullable();
            $table->string('fcm_token')->nullable();
            $table->string('api_token')->unique();
        });
        Schema::create('calls', function (Blueprint $table): void {
            $table->string('id')->primary();
            $table->string('caller_id');
            $table->string('receiver_id');
            $table->string('call_type');
            $table->string('status');
            $table->string('channel_name');
            $table->string('agora_token')->nullable();
            $table->timestamp('ended_at')->nullable();
        });
    }
};
