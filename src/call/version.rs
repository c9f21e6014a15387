use serde::{Deserialize, Serialize};

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
