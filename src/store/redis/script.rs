use std::sync::LazyLock;
use std::time::Instant;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, FromValue, Value};
use fred::util::sha1_hash;
use futures_util::FutureExt;

use crate::telemetry::metrics;

/// A Lua script of this directory. Sent as a custom command, because fred does not pipeline its own EVALSHA.
pub struct Script {
    file: &'static str,
    source: &'static str,
    sha: LazyLock<String>,
}

macro_rules! script {
    (@ $name:ident, $file:literal, $source:expr) => {
        pub static $name: Script = Script { file: $file, source: $source, sha: LazyLock::new(|| sha1_hash($source)) };
    };
    ($name:ident, $file:literal) => {
        script!(@ $name, $file, include_str!(concat!("lua/", $file)));
    };
    // Runs even when Redis is out of memory: who is connected, whose lease goes on, what time it is, deadlines that end
    // calls, and what follows a loss. Each is bounded by the number of nodes, phones or calls that there are already. A flag
    // of Redis 7.
    ($name:ident, without_memory, $file:literal) => {
        script!(@ $name, $file, concat!("#!lua flags=allow-oom\n", include_str!(concat!("lua/", $file))));
    };
    // With the functions of the outbox before it.
    ($name:ident, outbox, $file:literal) => {
        script!(@ $name, $file, concat!(include_str!("lua/outbox.lua"), include_str!(concat!("lua/", $file))));
    };
    ($name:ident, order_without_memory, $file:literal) => {
        script!(
            @ $name,
            $file,
            concat!("#!lua flags=allow-oom\n", include_str!("lua/order.lua"), include_str!(concat!("lua/", $file)))
        );
    };
    ($name:ident, timeline, $file:literal) => {
        script!(@ $name, $file, concat!(include_str!("lua/timeline.lua"), include_str!(concat!("lua/", $file))));
    };
    ($name:ident, change, $file:literal) => {
        script!(
            @ $name,
            $file,
            concat!(
                include_str!("lua/timeline.lua"),
                include_str!("lua/order.lua"),
                include_str!("lua/outcomes.lua"),
                include_str!("lua/count.lua"),
                include_str!("lua/tell.lua"),
                include_str!("lua/outbox.lua"),
                include_str!(concat!("lua/", $file))
            )
        );
    };
    // And run even when Redis is out of memory: calls must end, outbox messages must go. A flag of Redis 7.
    ($name:ident, outbox_without_memory, $file:literal) => {
        script!(
            @ $name,
            $file,
            concat!("#!lua flags=allow-oom\n", include_str!("lua/outbox.lua"), include_str!(concat!("lua/", $file)))
        );
    };
    ($name:ident, order_and_outbox_without_memory, $file:literal) => {
        script!(
            @ $name,
            $file,
            concat!(
                "#!lua flags=allow-oom\n",
                include_str!("lua/order.lua"),
                include_str!("lua/outbox.lua"),
                include_str!(concat!("lua/", $file))
            )
        );
    };
    ($name:ident, change_without_memory, $file:literal) => {
        script!(
            @ $name,
            $file,
            concat!(
                "#!lua flags=allow-oom\n",
                include_str!("lua/timeline.lua"),
                include_str!("lua/order.lua"),
                include_str!("lua/outcomes.lua"),
                include_str!("lua/count.lua"),
                include_str!("lua/tell.lua"),
                include_str!("lua/outbox.lua"),
                include_str!(concat!("lua/", $file))
            )
        );
    };
}

script!(CREATE, change, "create.lua");
script!(SWAP, change_without_memory, "swap.lua");
script!(NOTE, timeline, "note.lua");
script!(LINE, "line.lua");
script!(VERSIONS, "versions.lua");
script!(CLAIM, without_memory, "claim.lua");
script!(VERDICT, "verdict.lua");
script!(NOTICE, "notice.lua");
script!(SESSIONS, "sessions.lua");
script!(REGISTER, without_memory, "register.lua");
script!(UNREGISTER, "unregister.lua");
script!(WATCH, "watch.lua");
script!(UNWATCH, "unwatch.lua");
script!(SWEEP, without_memory, "sweep.lua");
script!(SWEPT, "swept.lua");
script!(RENEW, without_memory, "renew.lua");
script!(RETIRE, "retire.lua");
script!(SHIFT, without_memory, "shift.lua");
script!(EPOCHS, without_memory, "epochs.lua");
script!(VACATE, without_memory, "vacate.lua");
script!(VOUCH, without_memory, "vouch.lua");
script!(UNVOUCHED, "unvouched.lua");
script!(OUTBOX_APPEND, outbox, "outbox_append.lua");
script!(OUTBOX_CLAIM, outbox_without_memory, "outbox_claim.lua");
script!(OUTBOX_SETTLE, outbox_without_memory, "outbox_settle.lua");
script!(OUTBOX_HURRY, outbox_without_memory, "outbox_hurry.lua");
script!(OUTBOX_REPLAY, outbox_without_memory, "outbox_replay.lua");
script!(OUTBOX_BURY, outbox_without_memory, "outbox_bury.lua");
script!(OUTBOX_INDEX, outbox_without_memory, "outbox_index.lua");
script!(OUTBOX_DEAD, outbox, "outbox_dead.lua");
script!(OUTBOX_BACKLOG, "outbox_backlog.lua");
script!(GENERATION, without_memory, "generation.lua");
script!(PUT_BACK, without_memory, "put_back.lua");
script!(RESTORE, order_and_outbox_without_memory, "restore.lua");
script!(RAISE, order_without_memory, "raise.lua");
script!(COUNTS, "counts.lua");
script!(MESSAGE, "message.lua");
script!(KEPT, "kept.lua");

#[cfg(test)]
pub static ALL: [&Script; 38] = [
    &CREATE,
    &SWAP,
    &NOTE,
    &LINE,
    &VERSIONS,
    &CLAIM,
    &VERDICT,
    &NOTICE,
    &SESSIONS,
    &REGISTER,
    &UNREGISTER,
    &WATCH,
    &UNWATCH,
    &SWEEP,
    &SWEPT,
    &RENEW,
    &RETIRE,
    &SHIFT,
    &EPOCHS,
    &VACATE,
    &VOUCH,
    &UNVOUCHED,
    &OUTBOX_APPEND,
    &OUTBOX_CLAIM,
    &OUTBOX_SETTLE,
    &OUTBOX_HURRY,
    &OUTBOX_REPLAY,
    &OUTBOX_BURY,
    &OUTBOX_INDEX,
    &OUTBOX_DEAD,
    &OUTBOX_BACKLOG,
    &GENERATION,
    &PUT_BACK,
    &RESTORE,
    &RAISE,
    &COUNTS,
    &MESSAGE,
    &KEPT,
];

impl Script {
    /// The file without its ending.
    pub fn name(&self) -> &'static str {
        self.file.trim_end_matches(".lua")
    }

    /// How it is called on the wire.
    #[cfg(test)]
    pub fn sha(&self) -> &str {
        &self.sha
    }

    /// Runs the script; loads it where the server does not know it, which means that it has not run.
    pub async fn run<R: FromValue>(
        &self,
        client: &Client,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<R, Error> {
        // Cheap to clone: sent again only where the script is not known.
        // The slot is that of the first key. Not `Offset`: the client takes the first text then, which is the script's name.
        let slot = keys.first().map_or(ClusterHash::Random, |key| ClusterHash::from(key.as_str()));
        let keys: Vec<Value> = keys.into_iter().map(Value::from).collect();
        let call = |command: &'static str, body: &str| {
            let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let mut all: Vec<Value> = Vec::with_capacity(2 + keys.len() + arguments.len());
            all.extend([body.into(), count.into()]);
            all.extend(keys.iter().cloned());
            all.extend(arguments.iter().cloned());
            let command = CustomCommand::new_static(command, slot.clone(), false);
            client.custom::<R, Value>(command, all)
        };
        timed(self.name(), async {
            match call("EVALSHA", &self.sha).await {
                Err(error) if error.details().starts_with("NOSCRIPT") => call("EVAL", self.source).await,
                answered => answered,
            }
        })
        .await
    }
}

/// Measures how long the server takes to answer; `command` is one of a closed set.
pub fn timed<R>(command: &'static str, answer: impl Future<Output = R>) -> impl Future<Output = R> {
    let asked = Instant::now();
    answer.inspect(move |_| metrics::store_answered(command, asked.elapsed()))
}
