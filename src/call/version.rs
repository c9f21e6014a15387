use serde::{Deserialize, Serialize};

use super::Call;

/// The stored version of a call: a counter that rises by one with each change, and its writer's nonce, by which a
/// writer whose reply was lost recognises its own write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub counter: u64,
    pub nonce: u64,
}

impl Version {
    pub fn next(self, nonce: u64) -> Self {
        Self { counter: self.counter + 1, nonce }
    }

    /// Of the record with which a call was created.
    pub fn is_first(self) -> bool {
        self.counter <= 1
    }
}

impl Call {
    /// Notes that a request comes with the version that is about to be written.
    pub fn note_request(&mut self, before: &Call) {
        let nonce = Some(self.version.nonce);
        match &mut self.switching {
            Some(now) if now.open.is_some() && now.open.as_ref() != before.request() => now.asked_in = nonce,
            Some(_) | None => {}
        }
    }

    /// Whether its last request came with this version.
    pub fn was_asked_in(&self, version: Version) -> bool {
        self.switching.as_ref().and_then(|switching| switching.asked_in) == Some(version.nonce)
    }
}
