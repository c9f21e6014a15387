//! What an unmodified backend is asked, and what follows. Read `questions.rs` first.

mod inquiries;
mod questions;
mod rejections;

pub use inquiries::Inquiries;
pub use questions::{Ledger, Questions};
pub use rejections::Rejections;
