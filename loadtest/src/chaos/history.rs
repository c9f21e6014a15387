//! What happened in a run, line by line: the only thing that is judged.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of a history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Microseconds since the run began, monotonic.
    pub at: u64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The first line.
    Run {
        seed: u64,
        terms: Terms,
    },
    /// A phone was told `session:ready`.
    Open {
        phone: String,
        user: String,
        acks: bool,
        session: u64,
        node: String,
        /// The live call of the user: `callId`, `role`, `state`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Value>,
        /// The outcomes it was told: `callId`, `reason`.
        ended: Vec<Value>,
    },
    /// The phone no longer hears anything in this session.
    Close {
        phone: String,
        session: u64,
        why: String,
    },
    /// A phone used up its five tries.
    GaveUp {
        phone: String,
    },
    /// A phone was told never to come back.
    Burnt {
        phone: String,
        why: String,
    },
    Sent {
        phone: String,
        session: u64,
        event: String,
        call: String,
        /// Whom an initiate rings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// What a request for video is answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepted: Option<bool>,
    },
    Acked {
        phone: String,
        session: u64,
        event: String,
        call: String,
        answer: Value,
    },
    Heard {
        phone: String,
        session: u64,
        event: String,
        call: String,
        payload: Value,
    },
    /// The phone hears nothing, though its session goes on.
    Stopped {
        phone: String,
        session: u64,
    },
    /// It reads on.
    Reads {
        phone: String,
        session: u64,
    },
    /// A word about a call is said over HTTP in the name of a phone's user.
    Said {
        phone: String,
        node: String,
        event: String,
        call: String,
        /// How long its client waits for an answer.
        patience_ms: u64,
    },
    /// What became of it: no status where the client gave up.
    Answered {
        phone: String,
        event: String,
        call: String,
        status: Option<u16>,
        answer: Value,
    },
    /// A fault begins; with the calls it meets.
    Begin {
        fault: usize,
        kind: String,
        target: String,
        ringing: usize,
        active: usize,
        /// The store will come back as it was so long ago.
        #[serde(default, skip_serializing_if = "is_zero")]
        lost_ms: u64,
    },
    Done {
        fault: usize,
    },
    /// A node process serves from now on, or no longer.
    Up {
        node: String,
    },
    Down {
        node: String,
    },
    /// A node ended though nothing was done to it.
    Died {
        node: String,
    },
    /// Nothing is done any more: every phone is back, every call over, and 5 s have passed. Probes follow.
    Settled {
        waited_ms: u64,
        open_calls: usize,
        away: usize,
    },
    /// What a node has recorded of a call whose phones spoke of its type, when all is over; nothing where it knows
    /// none.
    Record {
        node: String,
        call: String,
        call_type: Option<String>,
    },
    /// What a node says of the whole cluster after the last probe.
    Audit {
        node: String,
        active_calls: u64,
        users: u64,
    },
}

impl What {
    /// The session in which a phone said or heard something of a call.
    pub fn session(&self) -> Option<u64> {
        match self {
            What::Sent { session, .. } | What::Acked { session, .. } | What::Heard { session, .. } => Some(*session),
            _ => None,
        }
    }
}

fn is_zero(millis: &u64) -> bool {
    *millis == 0
}

/// The times that the nodes of a run were given, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Terms {
    pub ring: u64,
    pub caller_grace: u64,
    pub call_grace: u64,
    pub lease: u64,
    /// How long a request for video waits.
    #[serde(default = "asked")]
    pub asked: u64,
}

/// That of a history which knew no such requests.
fn asked() -> u64 {
    30_000
}

/// Writes a history while it happens, and keeps it.
pub struct History {
    begun: Instant,
    sessions: AtomicU64,
    kept: Mutex<Kept>,
}

struct Kept {
    entries: Vec<Entry>,
    file: Option<BufWriter<File>>,
}

impl History {
    pub fn begin(path: Option<&Path>) -> anyhow::Result<Self> {
        let create = |path: &Path| File::create(path).with_context(|| format!("{} can't be written", path.display()));
        let file = path.map(create).transpose()?.map(BufWriter::new);
        let kept = Mutex::new(Kept { entries: Vec::new(), file });
        Ok(Self { begun: Instant::now(), sessions: AtomicU64::new(0), kept })
    }

    /// A number for a session, never used before.
    pub fn new_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn add(&self, what: What) {
        self.add_at(Instant::now(), what);
    }

    /// For what was read from a socket at `at`.
    pub fn add_at(&self, at: Instant, what: What) {
        let at = u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX);
        let entry = Entry { at, what };
        let mut kept = self.kept();
        if let Some(file) = &mut kept.file
            && let Ok(line) = serde_json::to_string(&entry)
        {
            // A full disk shows when the history is closed.
            let _ = writeln!(file, "{line}");
        }
        kept.entries.push(entry);
    }

    /// Everything so far; the file is complete then.
    pub fn close(&self) -> anyhow::Result<Vec<Entry>> {
        let mut kept = self.kept();
        if let Some(mut file) = kept.file.take() {
            file.flush().context("the history can't be written")?;
        }
        Ok(std::mem::take(&mut kept.entries))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a history that was kept.
pub fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    let lines = BufReader::new(file).lines().enumerate();
    lines
        .map(|(number, line)| {
            serde_json::from_str(&line?).with_context(|| format!("{}:{}: no history", path.display(), number + 1))
        })
        .collect()
}
