//! What this node asks Laravel: whose a token is, and whether a call is known (what a client may be told of the answer:
//! docs/semantics.md 7). And what it tells a Laravel that knows no webhooks.

mod answer;
mod breaker;
mod callbacks;
mod checks;
mod client;
mod lanes;
mod seal;
mod strangers;
mod throttled;
mod token;
mod verifier;

pub use callbacks::Callbacks;
pub use client::{Client, ClientError, Confirmation, Identity};
pub use seal::Sealer;
pub use token::hash_of;
pub use verifier::{LaravelVerifier, Revoked, Verified, VerifierSettings};
