//! Bugs on purpose, switched on by `SABOTAGE` in debug builds, to prove that the chaos suite would notice them. Release
//! builds have none: there every question is answered with a constant no.

use std::sync::atomic::{AtomicU64, Ordering};

/// A bug that can be switched on by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// `drop_envelopes`: one envelope in a hundred goes nowhere, and nothing heals.
    DropEnvelopes,
    /// `skip_version_check`: a swap overwrites whatever is stored.
    SkipVersionCheck,
    /// `leak_line`: one ending swap in ten keeps the lines taken.
    LeakLine,
    /// `emit_twice`: one event in fifty is said twice.
    EmitTwice,
    /// `late_incoming`: a phone that is told the end of its ring rings again.
    LateIncoming,
    /// `lose_deadline`: no deadline is ever judged.
    LoseDeadline,
    /// `order_by_clock`: the order of calls comes from the clock of their node, which runs ahead by 10 ms a dial.
    OrderByClock,
    /// `drop_on_disconnect`: a command over HTTP is forgotten when its client goes away.
    DropOnDisconnect,
    /// `forget_queue`: a command that finds no store is not kept.
    ForgetQueue,
    /// `said_before_emit`: one ring in ten counts as said and is not.
    SaidBeforeEmit,
    /// `give_up_early`: a node drains itself when the store has failed for five seconds, whoever else has it.
    GiveUpEarly,
    /// `lose_answer`: one answer in three to a request for video counts as said and is not.
    LoseAnswer,
    /// `unwritten_answer`: one answer in three to a request for video is acknowledged and not written.
    UnwrittenAnswer,
    /// `assent`: a no to video counts as a yes.
    Assent,
    /// `loud_request`: every device of the other side is asked for video.
    LoudRequest,
    /// `lose_message`: one kept message in three counts as said and is not.
    LoseMessage,
}

#[cfg(debug_assertions)]
mod on {
    use std::sync::OnceLock;
    use std::time::Duration;

    use super::Bug;

    const NAMES: [(Bug, &str); 16] = [
        (Bug::DropEnvelopes, "drop_envelopes"),
        (Bug::SkipVersionCheck, "skip_version_check"),
        (Bug::LeakLine, "leak_line"),
        (Bug::EmitTwice, "emit_twice"),
        (Bug::LateIncoming, "late_incoming"),
        (Bug::LoseDeadline, "lose_deadline"),
        (Bug::OrderByClock, "order_by_clock"),
        (Bug::DropOnDisconnect, "drop_on_disconnect"),
        (Bug::ForgetQueue, "forget_queue"),
        (Bug::SaidBeforeEmit, "said_before_emit"),
        (Bug::GiveUpEarly, "give_up_early"),
        (Bug::LoseAnswer, "lose_answer"),
        (Bug::UnwrittenAnswer, "unwritten_answer"),
        (Bug::Assent, "assent"),
        (Bug::LoudRequest, "loud_request"),
        (Bug::LoseMessage, "lose_message"),
    ];

    struct Switches {
        bugs: Vec<Bug>,
        pause_after_swap: Option<Duration>,
    }

    #[expect(clippy::disallowed_methods, reason = "no option of the configuration: release builds do not have it")]
    fn switches() -> &'static Switches {
        static SWITCHES: OnceLock<Switches> = OnceLock::new();
        SWITCHES.get_or_init(|| read(&std::env::var("SABOTAGE").unwrap_or_default()))
    }

    fn read(text: &str) -> Switches {
        let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        let bugs = NAMES.iter().filter(|(_, name)| words.contains(name)).map(|(bug, _)| *bug).collect();
        let pause = words.iter().find_map(|word| word.strip_prefix("pause_after_swap=")?.parse().ok());
        if !words.is_empty() {
            tracing::warn!(?words, "this node has bugs on purpose");
        }
        Switches { bugs, pause_after_swap: pause.map(Duration::from_millis) }
    }

    pub fn is_on(bug: Bug) -> bool {
        switches().bugs.contains(&bug)
    }

    pub async fn after_swap(call: &(dyn std::fmt::Display + Sync)) {
        if let Some(pause) = switches().pause_after_swap {
            tracing::warn!(%call, "failpoint reached");
            tokio::time::sleep(pause).await;
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn bugs_are_named_in_a_list() {
            let switches = read("leak_line, pause_after_swap=250,unknown");
            assert_eq!(switches.bugs, [Bug::LeakLine]);
            assert_eq!(switches.pause_after_swap, Some(Duration::from_millis(250)));
            assert!(read("").bugs.is_empty());
        }
    }
}

#[cfg(debug_assertions)]
pub use on::{after_swap, is_on};

#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn is_on(_: Bug) -> bool {
    false
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub async fn after_swap(_: &(dyn std::fmt::Display + Sync)) {}

/// How far an order that is handed out here is ahead of the store's, in its units (millionths of a second).
pub fn ahead() -> u64 {
    static DIALS: AtomicU64 = AtomicU64::new(0);
    if is_on(Bug::OrderByClock) { DIALS.fetch_add(1, Ordering::Relaxed) * 10_000 } else { 0 }
}

/// Whether the bug is on and its turn has come: one time in `of`.
pub fn strikes(bug: Bug, of: u32) -> bool {
    is_on(bug) && rand::random_range(0..of) == 0
}
