use std::time::{Duration, Instant};

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::KeysInterface;
use fred::types::Value;

use super::reading::{Key, json, number, parse, parse_at, tag, unexpected};
use super::script;
use crate::call::Timestamp;
use crate::store::{
    Backlog, Claim, DeadLetter, Outbox, OutboxBounds, OutboxMessage, Queue, REPLAYED_AT_ONCE, Replayed, Settled,
    StoreError, Which,
};

/// Messages moved by one run of a script: calls wait behind it.
const BITE: u64 = 25;
/// Members made due by one run, in two commands.
const HURRIED_AT_ONCE: u64 = 500;
/// Calls go first: between two bites the store is left alone for as long as a bite took.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// Messages forgotten, dropped or listed by one round of upkeep.
const UPKEEP: u64 = 2000;
/// Dead letters looked at by one request because a node of an older version did not list them under their calls.
const LOOKED_AT: u64 = 20_000;
/// What a node of an older version gave up is stored after this at the latest, by whatever clock.
const SETTLED_AFTER: Duration = Duration::from_secs(120);

/// The outbox, in the slot of the calls.
pub struct RedisOutbox {
    client: Client,
    bounds: OutboxBounds,
    tag: String,
}

impl RedisOutbox {
    pub fn new(client: Client, prefix: &str, bounds: OutboxBounds) -> Self {
        Self { client, bounds, tag: tag(prefix) }
    }

    fn keys(&self) -> Vec<String> {
        vec![format!("{}letters", prefix(&self.tag))]
    }

    fn off_key(&self) -> String {
        format!("{}off", prefix(&self.tag))
    }

    /// Lists dead letters of nodes of an older version under their calls, from where it was left on: those that are
    /// `settled` for all, from then on only for who goes on from `place`. Returns how many it looked at, and where it is.
    async fn index(
        &self,
        settled: Timestamp,
        place: Option<&(String, String)>,
    ) -> Result<(u64, Option<(String, String)>), StoreError> {
        let (time, message) = place.map_or(("", ""), |(time, message)| (time, message));
        let arguments =
            vec![prefix(&self.tag).into(), number(settled.as_millis()), number(BITE), time.into(), message.into()];
        let reply: Vec<String> = script::OUTBOX_INDEX.run(&self.client, self.keys(), arguments).await?;
        let [count, time, message] = reply.as_slice() else { return Err(unexpected("outbox_index", &reply)) };
        let place = (!time.is_empty()).then(|| (time.clone(), message.clone()));
        Ok((count.parse().unwrap_or(0), place))
    }

    /// Lists dead letters under their calls, also those that died a moment ago. True where none is left.
    async fn index_all(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut place = None;
        for _ in 0..LOOKED_AT / BITE {
            let asked = Instant::now();
            let (count, reached) = self.index(now - SETTLED_AFTER, place.as_ref()).await?;
            match place {
                // What is settled is listed for all; what is younger, for this request.
                None if count < BITE => place = reached.or_else(|| Some(("0".into(), String::new()))),
                None => {}
                Some(_) if count < BITE => return Ok(true),
                Some(_) => place = reached,
            }
            rest(asked).await;
        }
        Ok(false)
    }

    fn claimed(&self, member: &str, attempts: &str, message: &str, token: &str) -> Result<Claim, StoreError> {
        Ok(Claim {
            message: parse_at("letter", Key::Other(member), message)?,
            attempts: attempts.parse().unwrap_or(0),
            token: token.to_owned(),
            member: member.to_owned(),
        })
    }
}

fn prefix(tag: &str) -> String {
    format!("{tag}outbox:")
}

/// Waits after a bite that was `asked` for then.
async fn rest(asked: Instant) {
    tokio::time::sleep(asked.elapsed().clamp(PAUSE.0, PAUSE.1)).await;
}

/// What a script that appends is given behind its own arguments; nothing where there is nothing to append.
pub(super) fn arguments(tag: &str, bounds: OutboxBounds, messages: &[OutboxMessage]) -> Result<Vec<Value>, StoreError> {
    if messages.is_empty() {
        return Ok(vec![]);
    }
    let mut arguments = vec![prefix(tag).into(), number(bounds.messages), number(bounds.bytes)];
    for message in messages {
        arguments.push(message.id.as_str().into());
        arguments.push(message.queue.name().into());
        arguments.push(message.chain().map_or("", |call| call.as_str()).into());
        arguments.push(number(message.at.as_millis()));
        arguments.push(number(message.due.as_millis()));
        arguments.push(json("letter", message)?.into());
    }
    Ok(arguments)
}

#[async_trait]
impl Outbox for RedisOutbox {
    async fn append(&self, messages: &[OutboxMessage]) -> Result<(), StoreError> {
        let arguments = arguments(&self.tag, self.bounds, messages)?;
        if arguments.is_empty() {
            return Ok(());
        }
        Ok(script::OUTBOX_APPEND.run(&self.client, self.keys(), arguments).await?)
    }

    async fn claim(
        &self,
        queue: Queue,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Claim>, StoreError> {
        let token = format!("{:032x}", rand::random::<u128>());
        let arguments = vec![
            prefix(&self.tag).into(),
            queue.name().into(),
            number(now.as_millis()),
            number((now + lease).as_millis()),
            number(limit as u64),
            token.as_str().into(),
        ];
        let reply: Vec<String> = script::OUTBOX_CLAIM.run(&self.client, self.keys(), arguments).await?;
        // The lease of one that can't be read runs out: perhaps a node of its version takes it.
        Ok(reply.chunks_exact(3).filter_map(|part| self.claimed(&part[0], &part[1], &part[2], &token).ok()).collect())
    }

    async fn settle(&self, claim: &Claim, settled: &Settled, now: Timestamp) -> Result<Option<Claim>, StoreError> {
        let (what, attempts, at, error) = match settled {
            Settled::Done { lease } => ("done", 0, now + *lease, ""),
            Settled::Later { at, attempts } => ("later", *attempts, *at, ""),
            Settled::Apart { at, attempts } => ("apart", *attempts, *at, ""),
            Settled::Dead { error, attempts } => ("dead", *attempts, now, error.as_str()),
        };
        let arguments = vec![
            prefix(&self.tag).into(),
            claim.message.queue.name().into(),
            claim.member.as_str().into(),
            claim.message.id.as_str().into(),
            claim.token.as_str().into(),
            number(now.as_millis()),
            what.into(),
            number(u64::from(attempts)),
            number(at.as_millis()),
            error.into(),
        ];
        let reply: Vec<String> = script::OUTBOX_SETTLE.run(&self.client, self.keys(), arguments).await?;
        match reply.as_slice() {
            [] => Ok(None),
            [attempts, message] => Ok(self.claimed(&claim.member, attempts, message, &claim.token).ok()),
            _ => Err(unexpected("outbox_settle", &reply)),
        }
    }

    async fn hurry(&self, queue: Queue, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let asked = Instant::now();
            let arguments =
                vec![prefix(&self.tag).into(), queue.name().into(), number(now.as_millis()), number(HURRIED_AT_ONCE)];
            let moved: u64 = script::OUTBOX_HURRY.run(&self.client, self.keys(), arguments).await?;
            if moved < HURRIED_AT_ONCE {
                return Ok(());
            }
            rest(asked).await;
        }
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let reply: Vec<String> =
            script::OUTBOX_BACKLOG.run(&self.client, self.keys(), vec![prefix(&self.tag).into()]).await?;
        let [waiting, bytes, dead, oldest, dropped] = reply.as_slice() else {
            return Err(unexpected("outbox_backlog", &reply));
        };
        let count = |text: &str| text.parse::<f64>().unwrap_or(0.0).max(0.0) as u64;
        Ok(Backlog {
            waiting: count(waiting),
            bytes: count(bytes),
            dead: count(dead),
            oldest: (!oldest.is_empty()).then(|| Timestamp::from_millis(count(oldest))),
            dropped: count(dropped),
        })
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let arguments = vec![prefix(&self.tag).into(), number(limit as u64)];
        let reply: Vec<String> = script::OUTBOX_DEAD.run(&self.client, self.keys(), arguments).await?;
        let listed = reply.chunks_exact(4).filter_map(|part| {
            Some(DeadLetter {
                message: parse("letter", &part[3]).ok()?,
                died_at: Timestamp::from_millis(part[0].parse::<f64>().unwrap_or(0.0) as u64),
                attempts: part[1].parse().unwrap_or(0),
                error: part[2].clone(),
            })
        });
        Ok(listed.collect())
    }

    async fn replay(&self, which: &Which, now: Timestamp) -> Result<Replayed, StoreError> {
        let (kind, value) = match which {
            Which::Id(id) => ("id", id.clone()),
            Which::Call(call) => ("call", call.to_string()),
            Which::Since(since) => ("since", since.as_millis().to_string()),
        };
        let all_listed = kind != "call" || self.index_all(now).await?;
        let mut messages = 0;
        while messages < REPLAYED_AT_ONCE {
            let asked = Instant::now();
            let arguments = vec![
                prefix(&self.tag).into(),
                number(now.as_millis()),
                kind.into(),
                value.as_str().into(),
                number(BITE),
            ];
            let (looked_at, replayed): (u64, u64) =
                script::OUTBOX_REPLAY.run(&self.client, self.keys(), arguments).await?;
            messages += replayed;
            if looked_at < BITE {
                return Ok(Replayed { messages, more: !all_listed });
            }
            rest(asked).await;
        }
        Ok(Replayed { messages, more: true })
    }

    async fn bury(&self, before: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
        let mut gone = 0;
        while gone < UPKEEP {
            let asked = Instant::now();
            let arguments = vec![
                prefix(&self.tag).into(),
                number(before.as_millis()),
                number(BITE),
                number(self.bounds.messages),
                number(self.bounds.bytes),
            ];
            let (forgotten, dropped): (u64, u64) =
                script::OUTBOX_BURY.run(&self.client, self.keys(), arguments).await?;
            gone += forgotten + dropped;
            if forgotten + dropped < BITE {
                break;
            }
            rest(asked).await;
        }
        let mut listed = 0;
        while listed < UPKEEP {
            let asked = Instant::now();
            let (count, _) = self.index(now - SETTLED_AFTER, None).await?;
            listed += count;
            if count < BITE {
                break;
            }
            rest(asked).await;
        }
        Ok(gone)
    }

    async fn switch_off(&self, receiver: Option<&str>) -> Result<(), StoreError> {
        match receiver {
            Some(receiver) => Ok(self.client.set::<(), _, _>(self.off_key(), receiver, None, None, false).await?),
            None => Ok(self.client.del::<(), _>(self.off_key()).await?),
        }
    }

    async fn switched_off(&self) -> Result<Option<String>, StoreError> {
        Ok(self.client.get(self.off_key()).await?)
    }
}
