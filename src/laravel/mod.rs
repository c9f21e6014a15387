//! What this node asks Laravel: whose a token is, and whether a call is known. What a client may be told of the
//! answer: semantics.md, Authentication.

mod breaker;
mod checks;
mod client;
mod verifier;

pub use client::{ClientError, Confirmation, Identity};
pub use verifier::{LaravelVerifier, Revoked, Terms, Verified, hash_of};
