//! Deadlines: a local timer for accuracy, the stored index for certainty. Any node may fire any of them. Read `timers.rs`
//! first.

mod judge;
mod presence;
mod timers;

pub use judge::Judge;
pub use presence::PresenceAtDeadline;
pub use timers::Timers;
