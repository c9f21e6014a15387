use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface, SetsInterface};
use futures_util::future::try_join_all;
use sha2::{Digest, Sha256};

use super::calls::{json, parse, unexpected};
use super::script;
use crate::call::{NodeId, Timestamp, UserId};
use crate::clock::{SLEW, Shift};
use crate::store::{Lease, Page, Registered, Renewal, SessionRecord, SessionStore, StoreError, Swept};

/// Presence spreads over this many hash slots. Fixed: every node of every version must agree.
const SHARDS: u8 = 64;

/// Only collects what even the sweep forgot; nodes register their sessions again every hour.
const GARBAGE_TTL: Duration = Duration::from_secs(3 * 3600);

pub struct RedisSessions {
    client: Client,
    prefix: String,
}

impl RedisSessions {
    pub fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.to_owned() }
    }

    fn shard_tag(&self, shard: u8) -> String {
        format!("{{{}:p{shard}}}:", self.prefix)
    }

    fn tag(&self, user: &UserId) -> String {
        self.shard_tag(shard_of(user))
    }

    fn watchers_key(&self, user: &UserId) -> String {
        format!("{}watchers:{user}", self.tag(user))
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

    fn session_keys(&self, session: &SessionRecord) -> Vec<String> {
        let tag = self.tag(&session.user);
        vec![
            format!("{tag}sessions:{}", session.user),
            format!("{tag}online"),
            format!("{tag}on:{}:{}", session.node, session.epoch),
        ]
    }
}

fn shard_of(user: &UserId) -> u8 {
    Sha256::digest(user.as_str().as_bytes())[0] % SHARDS
}

fn holder(node: &NodeId, epoch: u64) -> String {
    format!("{node}|{epoch}|")
}

fn nodes(texts: &[String]) -> Vec<NodeId> {
    texts.iter().filter_map(|text| NodeId::parse(text).ok()).collect()
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn register(&self, session: &SessionRecord) -> Result<Registered, StoreError> {
        let arguments = vec![
            format!("{}{}", holder(&session.node, session.epoch), session.id).into(),
            json("session", session)?.into(),
            session.user.as_str().into(),
            GARBAGE_TTL.as_millis().to_string().into(),
        ];
        let mut keys = self.session_keys(session);
        keys.push(self.watchers_key(&session.user));
        let (sessions, watchers): (Vec<String>, Vec<String>) =
            script::REGISTER.run(&self.client, keys, arguments).await?;
        let sessions = sessions.iter().map(|text| parse("session", text)).collect::<Result<_, _>>()?;
        Ok(Registered { sessions, watchers: nodes(&watchers) })
    }

    async fn watch(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError> {
        let ttl = i64::try_from(GARBAGE_TTL.as_millis()).unwrap_or(i64::MAX);
        let writes = users.iter().map(|user| async move {
            let key = self.watchers_key(user);
            self.client.sadd::<(), _, _>(key.as_str(), node.as_str()).await?;
            self.client.pexpire::<(), _>(key, ttl, None).await
        });
        try_join_all(writes).await?;
        Ok(())
    }

    async fn unwatch(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError> {
        let writes = users.iter().map(|user| self.client.srem::<(), _, _>(self.watchers_key(user), node.as_str()));
        try_join_all(writes).await?;
        Ok(())
    }

    async fn watchers(&self, user: &UserId) -> Result<Vec<NodeId>, StoreError> {
        let watchers: Vec<String> = self.client.smembers(self.watchers_key(user)).await?;
        Ok(nodes(&watchers))
    }

    async fn unregister(&self, session: &SessionRecord) -> Result<bool, StoreError> {
        let holder = holder(&session.node, session.epoch);
        let arguments = vec![format!("{holder}{}", session.id).into(), holder.into(), session.user.as_str().into()];
        let mut keys = self.session_keys(session);
        keys.push(self.watchers_key(&session.user));
        Ok(script::UNREGISTER.run::<u64>(&self.client, keys, arguments).await? == 1)
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<SessionRecord>, StoreError> {
        let asked = self.client.hvals(format!("{}sessions:{user}", self.tag(user)));
        let values: Vec<String> = script::timed("sessions", asked).await?;
        values.iter().map(|text| parse("session", text)).collect()
    }

    async fn sessions_of(&self, users: &[UserId]) -> Result<Vec<Vec<SessionRecord>>, StoreError> {
        let mut by_shard: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (place, user) in users.iter().enumerate() {
            by_shard.entry(shard_of(user)).or_default().push(place);
        }
        let reads = by_shard.into_values().map(|places| async move {
            let key = |place: &usize| format!("{}sessions:{}", self.tag(&users[*place]), users[*place]);
            let keys = places.iter().map(key).collect();
            let found: Vec<Vec<String>> = script::SESSIONS.run(&self.client, keys, vec![]).await?;
            Ok::<_, StoreError>(places.into_iter().zip(found))
        });
        let mut sessions = vec![Vec::new(); users.len()];
        for (place, found) in try_join_all(reads).await?.into_iter().flatten() {
            sessions[place] = found.iter().map(|text| parse("session", text)).collect::<Result<_, _>>()?;
        }
        Ok(sessions)
    }

    async fn online_count(&self) -> Result<u64, StoreError> {
        let counts = self.tags().map(|tag| self.client.scard::<u64, _>(format!("{tag}online")));
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    async fn online_users(&self) -> Result<Vec<UserId>, StoreError> {
        let members = self.tags().map(|tag| self.client.smembers::<Vec<String>, _>(format!("{tag}online")));
        let members = try_join_all(members).await?;
        Ok(members.iter().flatten().filter_map(|user| UserId::stored(user).ok()).collect())
    }

    async fn online_page(&self, after: Option<&Page>, limit: usize) -> Result<(Vec<UserId>, Option<Page>), StoreError> {
        let mut page = Vec::new();
        let first = after.map_or(0, |after| after.shard);
        for shard in first..SHARDS {
            let members: Vec<String> = self.client.smembers(format!("{}online", self.shard_tag(shard))).await?;
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
        let reply: Vec<String> = script::RENEW.run(&self.client, keys, arguments).await?;
        let [own, shift, continued, leases @ ..] = reply.as_slice() else { return Err(unexpected("renew", &reply)) };
        let leases = leases
            .chunks_exact(3)
            .filter_map(|part| {
                // A description that a newer version wrote in another form is not ours to judge.
                let lease: Lease = parse("lease", &part[1]).ok()?;
                let expires_at = Timestamp::from_millis(part[2].parse::<f64>().ok()? as u64);
                Some(Lease { expires_at, ..lease })
            })
            .collect();
        let own = own.parse().ok().map(Timestamp::from_millis);
        let store_time = own.zip(shift.parse().ok());
        Ok(Renewal { store_time, continued: continued == "1", leases })
    }

    async fn shift_clock(&self, shift: Shift) -> Result<bool, StoreError> {
        let arguments = vec![shift.from.to_string().into(), shift.to.to_string().into()];
        Ok(script::SHIFT.run::<u64>(&self.client, vec![self.clock_key()], arguments).await? == 1)
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
            ];
            script::SWEEP.run::<Vec<String>>(&self.client, sweep_keys(&tag, lease), arguments)
        });
        let mut all = Swept::default();
        for swept in try_join_all(swept).await? {
            let [claimed, sessions @ ..] = swept.as_slice() else { return Err(unexpected("sweep", &swept)) };
            all.claimed += claimed.parse::<usize>().unwrap_or(0);
            all.sessions.extend(sessions.iter().filter_map(|text| parse("session", text).ok()));
        }
        if all.claimed == 0 {
            let arguments = vec![lease.node.as_str().into(), lease.epoch.to_string().into()];
            script::RETIRE.run::<u64>(&self.client, self.lease_keys(), arguments).await?;
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
