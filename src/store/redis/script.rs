use std::sync::LazyLock;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, FromValue, Value};
use fred::util::sha1_hash;

/// A Lua script of this directory. Sent as a custom command, because fred does not pipeline its own EVALSHA.
pub struct Script {
    source: &'static str,
    sha: LazyLock<String>,
}

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub static $name: Script = Script {
            source: include_str!(concat!("lua/", $file)),
            sha: LazyLock::new(|| sha1_hash(include_str!(concat!("lua/", $file)))),
        };
    };
}

script!(CREATE, "create.lua");
script!(SWAP, "swap.lua");
script!(LINE, "line.lua");
script!(VERSIONS, "versions.lua");
script!(CLAIM, "claim.lua");
script!(VERDICT, "verdict.lua");
script!(REGISTER, "register.lua");
script!(UNREGISTER, "unregister.lua");
script!(SWEEP, "sweep.lua");
script!(RENEW, "renew.lua");
script!(RETIRE, "retire.lua");
script!(GENERATION, "generation.lua");
script!(RESTORE, "restore.lua");

impl Script {
    /// Runs the script; loads it where the server does not know it, which means that it has not run.
    pub async fn run<R: FromValue>(
        &self,
        client: &Client,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<R, Error> {
        let call = |command: &'static str, body: &str| {
            let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let mut all: Vec<Value> = vec![body.into(), count.into()];
            all.extend(keys.iter().map(|key| Value::from(key.as_str())));
            all.extend(arguments.iter().cloned());
            // The first key decides the slot.
            let command = CustomCommand::new_static(command, ClusterHash::Offset(2), false);
            client.custom::<R, Value>(command, all)
        };
        match call("EVALSHA", &self.sha).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => call("EVAL", self.source).await,
            answered => answered,
        }
    }
}
