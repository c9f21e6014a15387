<?php

declare(strict_types=1);

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;
use OnlyCare\Signaling\Calls\RecordedCall;

// The table of RecordedCall.
return new class extends Migration {
    public function up(): void
    {
        Schema::create((new RecordedCall())->getTable(), function (Blueprint $table): void {
            $table->id();
            $table->string('call_id');
            // Milliseconds since the epoch: an id may be used again.
            $table->unsignedBigInteger('began_at_ms');
            $table->unsignedInteger('seq');
            $table->string('caller_id')->nullable();
            $table->string('receiver_id')->nullable();
            $table->string('call_type')->nullable();
            $table->dateTime('accepted_at')->nullable();
            $table->dateTime('ended_at')->nullable()->index();
            $table->unsignedInteger('duration_seconds')->nullable();
            // Without the wait for a party that did not come back: what to bill.
            $table->unsignedInteger('talk_seconds')->nullable();
            $table->string('reason')->nullable();
            $table->unique(['call_id', 'began_at_ms']);
        });
    }

    public function down(): void
    {
        Schema::dropIfExists((new RecordedCall())->getTable());
    }
};
