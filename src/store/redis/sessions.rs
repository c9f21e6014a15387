use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::{HashesInterface, SetsInterface};
use fred::types::{FromValue, Value};
use futures_util::future::try_join_all;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::reading::{Key, json, parse_at, passed_over, readable, unexpected};
use super::script;
use crate::call::{NodeId, Timestamp, UserId};
use crate::clock::{SLEW, Shift, StoreTime};
use crate::store::{
    Lease, Page, Registered, Renewal, SESSIONS_PER_HOLDER, SESSIONS_PER_USER, SessionRecord, SessionStore, StoreError,
    Swept,
};

/// Presence spreads over this many hash slots. Fixed: every node of every version must agree.
const SHARDS: u8 = 64;

/// Only collects what even the sweep forgot; nodes register their sessions again every hour.
const GARBAGE_TTL: Duration = Duration::from_secs(3 * 3600);

/// Commands on presence that one node has on their way at the same time.
const PRESENCE_AT_ONCE: usize = 8;
/// Sessions of one shard after which a sweep claims no further user.
const SESSIONS_PER_SWEEP: usize = 64;
/// Users of one shard in one command.
const USERS_AT_ONCE: usize = 64;

pub struct RedisSessions {
    client: Client,
    /// Presence subscriptions and who is online, which calls never wait for: a connection of its own, and few commands
    /// at a time.
    presence: Client,
    presence_at_once: Semaphore,
    /// The node's lease, which waits for no other answer: a node whose answers are slow is not cut off.
    lease: Client,
    prefix: String,
}

impl RedisSessions {
    pub fn new(client: Client, presence: Client, prefix: &str) -> Self {
        let presence_at_once = Semaphore::new(PRESENCE_AT_ONCE);
        Self { lease: client.clone(), client, presence, presence_at_once, prefix: prefix.to_owned() }
    }

    /// With a connection for the lease alone.
    pub fn with_lease_on(self, lease: Client) -> Self {
        Self { lease, ..self }
    }

    fn shard_tag(&self, shard: u8) -> String {
        format!("{{{}:p{shard}}}:", self.prefix)
    }

    fn tag(&self, user: &UserId) -> String {
        self.shard_tag(shard_of(user))
    }

    fn subscribers_key(&self, user: &UserId) -> String {
        format!("{}watchers:{user}", self.tag(user))
    }

    /// Runs a script on a key of each of these users, as few times as shards allow; `key` is what it is called in the
    /// user's shard. Returns the places of users and what the script said of them.
    async fn by_shard<R: FromValue>(
        &self,
        script: &script::Script,
        users: &[UserId],
        key: &str,
        arguments: &[Value],
    ) -> Result<Vec<(Vec<usize>, R)>, StoreError> {
        let mut by_shard: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (place, user) in users.iter().enumerate() {
            by_shard.entry(shard_of(user)).or_default().push(place);
        }
        let runs = by_shard.values().flat_map(|places| places.chunks(USERS_AT_ONCE)).map(|places| async move {
            let keys =
                places.iter().map(|place| format!("{}{key}:{}", self.tag(&users[*place]), users[*place])).collect();
            // Never closed.
            let _turn = self.presence_at_once.acquire().await;
            let answer = script.run(&self.presence, keys, arguments.to_vec()).await?;
            Ok::<_, StoreError>((places.to_vec(), answer))
        });
        try_join_all(runs).await
    }

    fn tags(&self) -> impl Iterator<Item = String> + '_ {
        (0..SHARDS).map(|shard| self.shard_tag(shard))
    }

    fn lease_keys(&self) -> Vec<String> {
        let tag = format!("{{{}:n}}:", self.prefix);
        vec![format!("{tag}leases"), format!("{tag}nodes")]
    }

    fn clock_key(&self) -> String {
        format!("{{{}:n}}:clock", self.prefix)
    }

    fn epochs_key(&self, node: &NodeId) -> String {
        format!("{{{}:n}}:epochs:{node}", self.prefix)
    }

    fn session_keys(&self, session: &SessionRecord) -> Vec<String> {
        let tag = self.tag(&session.user);
        vec![
            format!("{tag}sessions:{}", session.user),
            format!("{tag}online"),
            format!("{tag}on:{}:{}", session.node, session.epoch),
        ]
    }
}

/// Where a user's sessions are.
pub(super) fn sessions_key(prefix: &str, user: &UserId) -> String {
    format!("{{{prefix}:p{}}}:sessions:{user}", shard_of(user))
}

fn shard_of(user: &UserId) -> u8 {
    Sha256::digest(user.as_str().as_bytes())[0] % SHARDS
}

fn holder(node: &NodeId, epoch: u64) -> String {
    format!("{node}|{epoch}|")
}

fn nodes(texts: &[String]) -> Vec<NodeId> {
    let read =
        |text: &String| NodeId::parse(text).inspect_err(|_| passed_over("node", Key::Other(text), "no node id")).ok();
    texts.iter().filter_map(read).collect()
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn register(&self, session: &SessionRecord) -> Result<Registered, StoreError> {
        let arguments = vec![
            format!("{}{}", holder(&session.node, session.epoch), session.id).into(),
            json("session", session)?.into(),
            session.user.as_str().into(),
            GARBAGE_TTL.as_millis().to_string().into(),
            SESSIONS_PER_USER.to_string().into(),
        ];
        let mut keys = self.session_keys(session);
        keys.push(self.subscribers_key(&session.user));
        let (written, sessions, subscribers): (u64, Vec<String>, Vec<String>) =
            script::REGISTER.run(&self.client, keys, arguments).await?;
        let sessions = readable("session", Key::User(&session.user), &sessions);
        Ok(Registered { written: written == 1, sessions, subscribers: nodes(&subscribers) })
    }

    async fn subscribe(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError> {
        let arguments = [node.as_str().into(), GARBAGE_TTL.as_millis().to_string().into()];
        self.by_shard::<u64>(&script::WATCH, users, "watchers", &arguments).await?;
        Ok(())
    }

    async fn unsubscribe(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError> {
        self.by_shard::<u64>(&script::UNWATCH, users, "watchers", &[node.as_str().into()]).await?;
        Ok(())
    }

    async fn subscribers(&self, user: &UserId) -> Result<Vec<NodeId>, StoreError> {
        let subscribers: Vec<String> = self.presence.smembers(self.subscribers_key(user)).await?;
        Ok(nodes(&subscribers))
    }

    async fn unregister(&self, session: &SessionRecord) -> Result<bool, StoreError> {
        let holder = holder(&session.node, session.epoch);
        let arguments = vec![format!("{holder}{}", session.id).into(), holder.into(), session.user.as_str().into()];
        let mut keys = self.session_keys(session);
        keys.push(self.subscribers_key(&session.user));
        Ok(script::UNREGISTER.run::<u64>(&self.client, keys, arguments).await? == 1)
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<SessionRecord>, StoreError> {
        let asked = self.client.hvals(sessions_key(&self.prefix, user));
        let values: Vec<String> = script::timed("sessions", asked).await?;
        Ok(readable("session", Key::User(user), &values))
    }

    async fn sessions_of(&self, users: &[UserId]) -> Result<Vec<Vec<SessionRecord>>, StoreError> {
        let mut sessions = vec![Vec::new(); users.len()];
        let most = [SESSIONS_PER_HOLDER.to_string().into()];
        for (places, found) in self.by_shard::<Vec<Vec<String>>>(&script::SESSIONS, users, "sessions", &most).await? {
            for (place, found) in places.into_iter().zip(found) {
                sessions[place] = readable("session", Key::User(&users[place]), &found);
            }
        }
        Ok(sessions)
    }

    async fn online_count(&self) -> Result<u64, StoreError> {
        let counts = self.tags().map(|tag| self.presence.scard::<u64, _>(format!("{tag}online")));
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    async fn online_users(&self) -> Result<Vec<UserId>, StoreError> {
        let members = self.tags().map(|tag| self.presence.smembers::<Vec<String>, _>(format!("{tag}online")));
        let members = try_join_all(members).await?;
        Ok(members.iter().flatten().filter_map(|user| UserId::stored(user).ok()).collect())
    }

    async fn online_page(&self, after: Option<&Page>, limit: usize) -> Result<(Vec<UserId>, Option<Page>), StoreError> {
        let mut page = Vec::new();
        let first = after.map_or(0, |after| after.shard);
        for shard in first..SHARDS {
            let members: Vec<String> = self.presence.smembers(format!("{}online", self.shard_tag(shard))).await?;
            let mut users: Vec<UserId> = members.iter().filter_map(|user| UserId::stored(user).ok()).collect();
            users.sort();
            users.retain(|user| after.is_none_or(|after| shard > after.shard || *user > after.user));
            let room = limit - page.len();
            let full = users.len() > room || (users.len() == room && shard + 1 < SHARDS);
            users.truncate(room);
            page.append(&mut users);
            if full {
                let next = page.last().map(|user| Page { shard, user: user.clone() });
                return Ok((page, next));
            }
        }
        Ok((page, None))
    }

    async fn renew(&self, lease: &Lease, ttl: Duration, now: Option<Timestamp>) -> Result<Renewal, StoreError> {
        let arguments = vec![
            lease.node.as_str().into(),
            lease.epoch.to_string().into(),
            json("lease", lease)?.into(),
            ttl.as_millis().to_string().into(),
            now.map_or_else(String::new, |now| now.as_millis().to_string()).into(),
            SLEW.to_string().into(),
        ];
        let mut keys = self.lease_keys();
        keys.push(self.clock_key());
        let reply: Vec<String> = script::RENEW.run(&self.lease, keys, arguments).await?;
        let [own, shift, shifts, continued, leases @ ..] = reply.as_slice() else {
            return Err(unexpected("renew", &reply));
        };
        let leases = leases
            .chunks_exact(3)
            .filter_map(|part| {
                // A description that a newer version wrote in another form is not ours to judge.
                let lease: Lease = parse_at("lease", Key::Other(&part[0]), &part[1]).ok()?;
                let expires_at = Timestamp::from_millis(part[2].parse::<f64>().ok()? as u64);
                Some(Lease { expires_at, ..lease })
            })
            .collect();
        let (own, shift, shifts) = (own.parse().ok(), shift.parse().ok(), shifts.parse().unwrap_or_default());
        let store_time =
            own.zip(shift).map(|(own, shift)| StoreTime { raw: Timestamp::from_millis(own), shift, shifts });
        Ok(Renewal { store_time, continued: continued == "1", leases })
    }

    async fn shift_clock(&self, shift: Shift) -> Result<bool, StoreError> {
        let arguments = [shift.from.to_string(), shift.to.to_string(), shift.shifts.to_string()];
        let arguments = arguments.into_iter().map(Into::into).collect();
        Ok(script::SHIFT.run::<u64>(&self.lease, vec![self.clock_key()], arguments).await? == 1)
    }

    async fn sweep(&self, lease: &Lease, now: Timestamp, claim: Duration, limit: usize) -> Result<Swept, StoreError> {
        let each = limit.div_ceil(usize::from(SHARDS));
        let holder = holder(&lease.node, lease.epoch);
        let swept = self.tags().map(|tag| {
            let arguments = vec![
                holder.as_str().into(),
                format!("{tag}sessions:").into(),
                each.to_string().into(),
                now.as_millis().to_string().into(),
                (now + claim).as_millis().to_string().into(),
                GARBAGE_TTL.as_millis().to_string().into(),
                SESSIONS_PER_SWEEP.to_string().into(),
            ];
            script::SWEEP.run::<Vec<String>>(&self.client, sweep_keys(&tag, lease), arguments)
        });
        let mut all = Swept::default();
        for swept in try_join_all(swept).await? {
            let [claimed, sessions @ ..] = swept.as_slice() else { return Err(unexpected("sweep", &swept)) };
            all.claimed += claimed.parse::<usize>().unwrap_or(0);
            all.sessions.extend(readable("session", Key::Other(lease.node.as_str()), sessions));
        }
        if all.claimed == 0 {
            let arguments = vec![lease.node.as_str().into(), lease.epoch.to_string().into()];
            script::RETIRE.run::<u64>(&self.client, self.lease_keys(), arguments).await?;
            self.client.srem::<(), _, _>(self.epochs_key(&lease.node), lease.epoch.to_string()).await?;
        }
        Ok(all)
    }

    async fn swept(&self, lease: &Lease, users: &[UserId]) -> Result<(), StoreError> {
        let mut by_shard: BTreeMap<u8, Vec<&UserId>> = BTreeMap::new();
        for user in users {
            by_shard.entry(shard_of(user)).or_default().push(user);
        }
        let removals = by_shard.into_iter().map(|(shard, users)| {
            let tag = self.shard_tag(shard);
            let mut keys = sweep_keys(&tag, lease);
            keys.push(format!("{tag}online"));
            let mut arguments = vec![holder(&lease.node, lease.epoch).into(), format!("{tag}sessions:").into()];
            arguments.extend(users.into_iter().map(|user| user.as_str().into()));
            script::SWEPT.run::<u64>(&self.client, keys, arguments)
        });
        try_join_all(removals).await?;
        Ok(())
    }

    async fn begin(&self, node: &NodeId, epoch: u64) -> Result<Vec<u64>, StoreError> {
        let arguments = vec![epoch.to_string().into(), GARBAGE_TTL.as_millis().to_string().into()];
        let others: Vec<String> = script::EPOCHS.run(&self.client, vec![self.epochs_key(node)], arguments).await?;
        Ok(others.iter().filter_map(|epoch| epoch.parse().ok()).collect())
    }

    async fn retire(&self, node: &NodeId) -> Result<(), StoreError> {
        let arguments = vec![node.as_str().into(), "".into()];
        script::RETIRE.run::<u64>(&self.client, self.lease_keys(), arguments).await?;
        Ok(())
    }
}

fn sweep_keys(tag: &str, lease: &Lease) -> Vec<String> {
    let (node, epoch) = (&lease.node, lease.epoch);
    vec![format!("{tag}on:{node}:{epoch}"), format!("{tag}sweeping:{node}:{epoch}")]
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::super::connect;
    use super::*;
    use crate::clock::Clock;
    use crate::store::contract::{lease, test_server};

    /// Where answers are slow or long, the lease does not wait for them: the node reaches its store.
    #[tokio::test]
    async fn a_lease_is_renewed_while_other_answers_are_slow() {
        use fred::interfaces::ClientLike;
        use fred::types::{ClusterHash, CustomCommand};
        let url = test_server::shared().url();
        let client = connect(&url, &TaskTracker::new()).await.unwrap();
        let own = connect(&url, &TaskTracker::new()).await.unwrap();
        let prefix = format!("slow{:016x}", rand::random::<u64>());
        let sessions = RedisSessions::new(client.clone(), client.clone(), &prefix).with_lease_on(own);
        // It answers nothing on this connection before that.
        let command = CustomCommand::new_static("BLPOP", ClusterHash::FirstKey, false);
        let slow = client.custom::<Value, Value>(command, vec![format!("{prefix}none").into(), "3".into()]);
        let user = UserId::parse("ana").unwrap();
        let others = async {
            drop(slow.await);
            drop(sessions.sessions(&user).await);
        };
        let renewals = async {
            for _ in 0..20 {
                sessions.renew(&lease("n1", 1), Duration::from_secs(10), Some(Clock::system().now())).await.unwrap();
            }
        };
        tokio::select! {
            biased;
            () = others => panic!("the lease waited for others"),
            () = renewals => {}
        }
    }
}
