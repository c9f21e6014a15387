//! What stands for a token where none may be.

use sha2::{Digest, Sha256};

use crate::call::TokenHash;

/// What is stored and compared in place of a token.
pub fn hash_of(token: &str) -> TokenHash {
    TokenHash::from_digest(Sha256::digest(token.as_bytes()).into())
}
