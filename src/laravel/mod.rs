//! Token verification by Laravel's `GET /users/me`. What a client may be told: semantics.md, Authentication.

mod verifier;

pub use verifier::{ClientError, Identity, LaravelVerifier, Verified};
