//! What an unmodified backend is asked, and what follows. Read `questions.rs` first.

mod inquiries;
mod questions;
mod rejections;

pub use inquiries::Inquiries;
pub use questions::{BackendCallTable, Questions};
pub use rejections::Rejections;
