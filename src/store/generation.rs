//! Which store this is, and what nodes say of putting back what it lost.

use std::time::Duration;

use crate::call::NodeId;

/// Which life of the store this is: another one after it was restarted empty or failed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation(String);

impl Generation {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// What of it stands in the store itself: not which process serves that.
    pub fn written(&self) -> &str {
        self.0.split('|').next().unwrap_or_default()
    }

    /// Equal to none that a store has.
    pub fn unknown() -> Self {
        Self(String::new())
    }
}

/// How far a node is with putting back what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestoreStage {
    Nothing,
    /// What its own phones were told.
    Told,
    All,
    /// It decides again, and still waits for who had too little time.
    Decides,
    /// It waits for nobody any more: what the store does not have does not exist. Reported as [`RestoreStage::Decides`].
    Denies,
}

/// What nodes said of this life of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReports {
    pub nodes: Vec<(NodeId, RestoreStage)>,
    /// How long ago the first of them decided again, by the store's clock.
    pub decided_since: Option<Duration>,
    /// And waited for nobody any more.
    pub denied_since: Option<Duration>,
}
