use std::time::Duration;

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::KeysInterface;
use fred::types::Value;

use super::calls::{json, number, parse, tag, unexpected};
use super::reading::{Key, parse_at};
use super::script;
use crate::call::Timestamp;
use crate::store::{Backlog, Claim, DeadLetter, Letter, Outbox, OutboxBounds, Queue, Settled, StoreError, Which};

/// Letters moved by one run of a script.
const AT_ONCE: u64 = 1000;

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

    fn claimed(&self, member: &str, attempts: &str, letter: &str, token: &str) -> Result<Claim, StoreError> {
        Ok(Claim {
            letter: parse_at("letter", Key::Other(member), letter)?,
            attempts: attempts.parse().unwrap_or(0),
            token: token.to_owned(),
            member: member.to_owned(),
        })
    }
}

fn prefix(tag: &str) -> String {
    format!("{tag}outbox:")
}

/// What a script that appends is given behind its own arguments; nothing where there is nothing to append.
pub(super) fn arguments(tag: &str, bounds: OutboxBounds, letters: &[Letter]) -> Result<Vec<Value>, StoreError> {
    if letters.is_empty() {
        return Ok(vec![]);
    }
    let mut arguments = vec![prefix(tag).into(), number(bounds.letters), number(bounds.bytes)];
    for letter in letters {
        arguments.push(letter.id.as_str().into());
        arguments.push(letter.queue.name().into());
        arguments.push(letter.chain().map_or("", |call| call.as_str()).into());
        arguments.push(number(letter.at.as_millis()));
        arguments.push(number(letter.due.as_millis()));
        arguments.push(json("letter", letter)?.into());
    }
    Ok(arguments)
}

#[async_trait]
impl Outbox for RedisOutbox {
    async fn append(&self, letters: &[Letter]) -> Result<(), StoreError> {
        let arguments = arguments(&self.tag, self.bounds, letters)?;
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
            claim.letter.queue.name().into(),
            claim.member.as_str().into(),
            claim.letter.id.as_str().into(),
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
            [attempts, letter] => Ok(self.claimed(&claim.member, attempts, letter, &claim.token).ok()),
            _ => Err(unexpected("outbox_settle", &reply)),
        }
    }

    async fn hurry(&self, queue: Queue, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let arguments =
                vec![prefix(&self.tag).into(), queue.name().into(), number(now.as_millis()), number(AT_ONCE)];
            let moved: u64 = script::OUTBOX_HURRY.run(&self.client, self.keys(), arguments).await?;
            if moved < AT_ONCE {
                return Ok(());
            }
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
                letter: parse("letter", &part[3]).ok()?,
                died_at: Timestamp::from_millis(part[0].parse::<f64>().unwrap_or(0.0) as u64),
                attempts: part[1].parse().unwrap_or(0),
                error: part[2].clone(),
            })
        });
        Ok(listed.collect())
    }

    async fn replay(&self, which: &Which, now: Timestamp) -> Result<u64, StoreError> {
        let (kind, value) = match which {
            Which::Id(id) => ("id", id.clone()),
            Which::Call(call) => ("call", call.to_string()),
            Which::Since(since) => ("since", since.as_millis().to_string()),
        };
        let mut replayed = 0;
        loop {
            let arguments = vec![
                prefix(&self.tag).into(),
                number(now.as_millis()),
                kind.into(),
                value.as_str().into(),
                number(AT_ONCE),
            ];
            let some: u64 = script::OUTBOX_REPLAY.run(&self.client, self.keys(), arguments).await?;
            replayed += some;
            if some < AT_ONCE {
                return Ok(replayed);
            }
        }
    }

    async fn bury(&self, before: Timestamp) -> Result<u64, StoreError> {
        let arguments = vec![prefix(&self.tag).into(), number(before.as_millis()), number(AT_ONCE)];
        Ok(script::OUTBOX_BURY.run(&self.client, self.keys(), arguments).await?)
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
