//! What was lost comes back: calls that differ from the store, calls that the store has lost, calls that it brought back
//! though they are over, and two calls with the same busy claim. Read `healing.rs` first.

mod conflicts;
mod healing;
mod restoring;
mod stragglers;
mod vouching;

pub use conflicts::Conflicts;
pub use healing::Healing;
pub use restoring::{Losses, Restoring};
pub use vouching::Vouching;
