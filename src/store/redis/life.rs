use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::Value;
use fred::types::config::Server;
use parking_lot::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::connection::COMMAND_TIMEOUT;
use super::reading::{duration, flag, number, unexpected};
use super::script;
use crate::call::NodeId;
use crate::store::{Generation, RestoreReports, RestoreStage, StoreError};

/// How often a connection that is being made again is looked at.
const CONNECTION_PAUSE: Duration = Duration::from_millis(5);
/// Who has put back what, after a loss: of use for seconds.
const PROGRESS_KEPT: Duration = Duration::from_secs(600);

/// A node that slept through all of that must not take the loss for a new one.
const DECIDED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
const SAID: [(RestoreStage, &str); 4] = [
    (RestoreStage::Nothing, "nothing"),
    (RestoreStage::Told, "told"),
    (RestoreStage::All, "all"),
    (RestoreStage::Decides, "decides"),
];

/// Which life of the server this is, and whether it is reached: connections that were made again, counted when somebody
/// asks.
pub(super) struct Life {
    connections: Mutex<Connections>,
    /// By which commands are dated, for the server's own clock.
    started: Instant,
    /// The server's clock at `started`, in milliseconds, as its last answer said; 0 before the first.
    epoch: AtomicU64,
    /// The name of the generation that was asked for last; empty before.
    asked: Mutex<String>,
    /// The name of the one that decisions are made for; empty before the first.
    judged: Mutex<String>,
}

/// What a node says of its putting back; nobody's where it only looks.
pub(super) struct RestoreReport<'a> {
    pub node: Option<&'a NodeId>,
    pub done: RestoreStage,
}

struct Connections {
    made: Receiver<Server>,
    count: u64,
}

pub(super) fn generation_key(tag: &str) -> String {
    format!("{tag}generation")
}

impl Life {
    pub fn new(client: &Client) -> Self {
        Self {
            connections: Mutex::new(Connections { made: client.reconnect_rx(), count: 0 }),
            started: Instant::now(),
            epoch: AtomicU64::new(0),
            asked: Mutex::default(),
            judged: Mutex::default(),
        }
    }

    /// The server's own time of now, as far as it is known, else nothing.
    pub fn sent_now(&self) -> Value {
        match self.epoch.load(Ordering::Relaxed) {
            0 => "".into(),
            epoch => number(epoch + self.elapsed()),
        }
    }

    /// Learns the server's own time from an answer.
    pub fn server_says(&self, own: &str) {
        if let Ok(own) = own.parse::<u64>() {
            self.epoch.store(own.saturating_sub(self.elapsed()).max(1), Ordering::Relaxed);
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub async fn generation(&self, client: &Client, tag: &str) -> Result<Generation, StoreError> {
        let name = format!("{:016x}", rand::random::<u64>());
        let reply: String = script::GENERATION.run(client, vec![generation_key(tag)], vec![name.into()]).await?;
        let generation = Generation::new(reply);
        generation.written().clone_into(&mut self.asked.lock());
        Ok(generation)
    }

    pub fn decide_for(&self, generation: &Generation) {
        generation.written().clone_into(&mut self.judged.lock());
    }

    /// What a write that nothing was decided for is to find there.
    pub fn asked(&self) -> String {
        self.asked.lock().clone()
    }

    /// What a write that was decided is to find there.
    pub fn judged(&self) -> String {
        self.judged.lock().clone()
    }

    pub async fn reached(&self, client: &Client) -> Result<(), StoreError> {
        let made = async {
            while !client.is_connected() {
                tokio::time::sleep(CONNECTION_PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(COMMAND_TIMEOUT, made).await;
        waited.map_err(|_| StoreError::Unavailable("not connected".into()))
    }

    pub fn connection(&self) -> u64 {
        let mut connections = self.connections.lock();
        loop {
            connections.count += match connections.made.try_recv() {
                Ok(_) => 1,
                Err(TryRecvError::Lagged(missed)) => missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return connections.count,
            };
        }
    }

    pub async fn report_restored(
        &self,
        client: &Client,
        tag: &str,
        generation: &Generation,
        RestoreReport { node, done }: RestoreReport<'_>,
    ) -> Result<RestoreReports, StoreError> {
        let denies = done == RestoreStage::Denies;
        let done = if denies { RestoreStage::Decides } else { done };
        let word = SAID.iter().find(|(said, _)| *said == done).map_or("nothing", |(_, word)| word);
        let arguments = vec![
            node.map_or("", NodeId::as_str).into(),
            word.into(),
            duration(PROGRESS_KEPT),
            duration(DECIDED_KEPT),
            flag(denies),
        ];
        let keys = ["restored", "decided", "denied"].map(|key| format!("{tag}{key}:{}", generation.name()));
        let reply: Vec<String> = script::PUT_BACK.run(client, keys.to_vec(), arguments).await?;
        let [decided, denied, nodes @ ..] = reply.as_slice() else { return Err(unexpected("put back", &reply)) };
        // A word of another version says less than any.
        let done = |word: &String| {
            SAID.iter().find(|(_, known)| known == word).map_or(RestoreStage::Nothing, |(said, _)| *said)
        };
        let nodes = nodes.chunks_exact(2).filter_map(|pair| Some((NodeId::parse(&pair[0]).ok()?, done(&pair[1]))));
        let since = |text: &String| text.parse().ok().map(Duration::from_millis);
        Ok(RestoreReports { nodes: nodes.collect(), decided_since: since(decided), denied_since: since(denied) })
    }
}

#[cfg(test)]
mod tests {
    use fred::interfaces::KeysInterface;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::call::Command;
    use crate::clock::Clock;
    use crate::store::contract::{UNLIMITED, apply, by, call, test_server};
    use crate::store::redis::{RedisCalls, connect};
    use crate::store::{CallStore, Created, Swap};

    /// A store that was emptied, or came back older, behind connections that nobody made again, and into which another node
    /// has put back what it knows: what was decided here before changes nothing there.
    #[tokio::test]
    async fn what_was_decided_for_another_store_changes_nothing() {
        let client = connect(&test_server::shared().url(), &TaskTracker::new()).await.expect("redis answers");
        let prefix = format!("l{:016x}", rand::random::<u64>());
        let (calls, now) = (RedisCalls::new(client.clone(), &prefix, UNLIMITED), Clock::system().now());
        let first = calls.generation().await.unwrap();
        calls.decide_for(&first);
        let begun = call("1", "ana", "bo", now);
        let Created::Created(begun) = calls.create(&begun, &[], &[], &[], now).await.unwrap() else {
            panic!("no call")
        };
        client.del::<(), _>(vec![generation_key(&calls.tag), calls.call_key(&begun.id)]).await.unwrap();
        let by_another = RedisCalls::new(client, &prefix, UNLIMITED);
        let second = by_another.generation().await.unwrap();
        assert_ne!(second, first);
        assert!(by_another.restore(&begun, &[]).await.unwrap().written);

        let over = apply(&begun, Command::Cancel { by: by("ana"), reason: None }, now);
        let swap = async || calls.swap(&over, begun.version, &[], &[]).await;
        let (next, lost) = (call("2", "cleo", "dan", now), call("3", "eve", "fay", now));
        assert!(matches!(swap().await, Err(StoreError::Another)));
        assert!(matches!(calls.create(&next, &[], &[], &[], now).await, Err(StoreError::Another)));
        assert!(matches!(calls.restore(&lost, &[]).await, Err(StoreError::Another)));
        assert_eq!(calls.load(&begun.id).await.unwrap(), Some(*begun.clone()));
        assert_eq!(calls.live_calls().await.unwrap(), 1);

        // Asked, it takes what was lost; decided is nothing yet.
        assert_eq!(calls.generation().await.unwrap(), second);
        assert!(calls.restore(&lost, &[]).await.unwrap().written);
        assert!(matches!(swap().await, Err(StoreError::Another)));
        calls.decide_for(&second);
        // Of a store that lost its name alone the records are of an earlier one.
        calls.client.del::<(), _>(generation_key(&calls.tag)).await.unwrap();
        let third = calls.generation().await.unwrap();
        assert_ne!(third, second);
        calls.decide_for(&third);
        assert!(matches!(swap().await, Ok(Swap::Done { .. })));
    }
}
