//! Phones come and go: registration, eviction, absence, replay, dismissal, and a node that leaves. Read `connect.rs` first.

mod absence;
mod connect;
mod dismissal;
mod leaving;
mod registering;
mod registrar;
mod replay;

pub use absence::Absences;
pub use connect::Connections;
pub use dismissal::{Dismissals, SentAway};
pub use leaving::Leaving;
pub use registering::Registering;
pub use registrar::Registrar;
pub use replay::Replay;
