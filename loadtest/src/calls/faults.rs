//! What went wrong, counted by kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An event or an acknowledgement was owed and not heard in time.
    Lost,
    /// The same event twice for one call at one phone, or an acknowledgement twice.
    Doubled,
    /// An event of a call that was over: its end told and acknowledged, or told to this very phone.
    Late,
    /// An acknowledgement that does not say what the plan has to lead to.
    WrongAck,
    /// An event that has no place in the plan of its call, or came to the wrong phone.
    Unexpected,
    Disconnected,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Lost, Kind::Doubled, Kind::Late, Kind::WrongAck, Kind::Unexpected, Kind::Disconnected];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::Doubled => "doubled",
            Kind::Late => "late",
            Kind::WrongAck => "wrong ack",
            Kind::Unexpected => "unexpected",
            Kind::Disconnected => "disconnected",
        }
    }
}

/// Examples of each fault kept for people: which call, what, when.
const EXAMPLES: u64 = 3;

#[derive(Debug, Default)]
pub struct Faults {
    counts: BTreeMap<(Kind, String), u64>,
    pub examples: Vec<String>,
    /// What was counted last.
    pub last: String,
}

impl Faults {
    pub fn add(&mut self, kind: Kind, what: impl Into<String>, example: impl FnOnce() -> String) {
        let what = what.into();
        let said = format!("{} {what}", kind.name());
        let count = self.counts.entry((kind, what)).or_default();
        *count += 1;
        if *count <= EXAMPLES {
            self.examples.push(format!("{said}: {}", example()));
        }
        self.last = said;
    }

    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.iter().filter(|((of, _), _)| *of == kind).map(|(_, count)| count).sum()
    }

    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    pub fn to_json(&self) -> Value {
        let kinds = Kind::ALL.map(|kind| {
            let what = self.counts.iter().filter(|((of, _), _)| *of == kind);
            let what: serde_json::Map<String, Value> =
                what.map(|((_, what), count)| (what.clone(), (*count).into())).collect();
            (kind.name().to_owned(), json!({"count": self.count(kind), "of": what}))
        });
        let mut json: serde_json::Map<String, Value> = kinds.into_iter().collect();
        json.insert("examples".into(), json!(self.examples));
        json.into()
    }

    pub fn lines(&self) -> Vec<String> {
        Kind::ALL
            .into_iter()
            .map(|kind| {
                let what = self.counts.iter().filter(|((of, _), _)| *of == kind);
                let what: Vec<String> = what.map(|((_, what), count)| format!("{count} {what}")).collect();
                format!("{:<14}{:>8}  {}", kind.name(), self.count(kind), what.join(", ")).trim_end().to_owned()
            })
            .collect()
    }
}
