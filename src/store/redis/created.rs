//! What the script that creates a call answers.

use std::time::Duration;

use super::calls::RedisCalls;
use super::reading::{Key, early_command, optional, order_in, parse_at, unexpected};
use crate::call::Call;
use crate::fault_injection;
use crate::store::{Created, RingLimit, StoreError};
use crate::telemetry::metrics::{self, Freed};

impl RedisCalls {
    pub(super) fn created(&self, call: &Call, reply: &[String]) -> Result<Created, StoreError> {
        let (caller, callee) = (&call.caller.user, &call.callee.user);
        let mut parts = reply.iter().map(String::as_str);
        match (parts.next(), parts.next(), parts.next()) {
            (Some("late"), Some(own), _) => {
                // It can't be, since this is heard: the server's clock made a step.
                self.life.server_says(own);
                Err(StoreError::Unavailable("LATE the call was dialled too long ago".into()))
            }
            (Some("another"), ..) => Err(StoreError::Another),
            (Some("created"), Some(order), Some(stuck)) => {
                parts.next().inspect(|own| self.life.server_says(own));
                let stuck: usize = stuck.parse().unwrap_or(0);
                (0..stuck).for_each(|_| metrics::line_freed(Freed::Gone));
                let order = order_in(order)? + fault_injection::ahead();
                let over = if call.is_live() { call.over } else { order };
                Ok(Created::Created(Box::new(Call { order, over, ..call.clone() })))
            }
            (Some("exists"), Some(record), _) => {
                Ok(Created::Exists(Box::new(parse_at("call", Key::Call(&call.id), record)?)))
            }
            (Some("limited"), Some(wait), bound) => {
                let (limit, wait) = refusal(wait, bound);
                Ok(Created::TooManyRings { limit, wait })
            }
            (Some("busy"), Some(on_caller), Some(on_callee)) => {
                match (optional(Key::User(caller), on_caller), optional(Key::User(callee), on_callee)) {
                    (Ok(caller), Ok(callee)) => {
                        let limited = parts.next().map(|wait| refusal(wait, parts.next()));
                        Ok(Created::Busy { caller: caller.map(Box::new), callee: callee.map(Box::new), limited })
                    }
                    (Err(_), _) | (_, Err(_)) => Ok(Created::Taken),
                }
            }
            (Some("verdicts"), ..) => {
                let early_commands =
                    reply[1..].iter().map(|text| early_command(text, callee)).collect::<Result<_, _>>()?;
                Ok(Created::EarlyCommands(early_commands))
            }
            _ => Err(unexpected("create", reply)),
        }
    }
}

/// Which bound a ring met, and for how long.
fn refusal(wait: &str, bound: Option<&str>) -> (RingLimit, Duration) {
    let limit = match bound {
        Some("callee") => RingLimit::PerCallee,
        Some("caller") => RingLimit::PerCaller,
        Some(_) | None => RingLimit::PerMinute,
    };
    (limit, Duration::from_millis(wait.parse().unwrap_or(1000)))
}
