//! Users in logs and traces: by id, or by a hash that says who is the same and not who it is.

use std::fmt;
use std::sync::OnceLock;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::call::UserId;

static USERS: OnceLock<Users> = OnceLock::new();

/// How users are named.
#[derive(Clone, PartialEq, Eq)]
pub enum Users {
    Plain,
    /// By an HMAC with this key: ids are too easily guessed for a hash without one.
    Hashed(Vec<u8>),
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Users::Plain => "Plain",
            Users::Hashed(_) => "Hashed",
        })
    }
}

/// Decides how users are named; the first call of a process wins.
pub(super) fn start(users: Users) {
    let _ = USERS.set(users);
}

/// A user as logs and traces may name him.
pub struct Who<'a>(pub &'a UserId);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match USERS.get() {
            Some(Users::Hashed(key)) => hashed(key, self.0).iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Some(Users::Plain) | None => f.write_str(self.0.as_str()),
        }
    }
}

/// The first 8 bytes of an HMAC-SHA-256: what `openssl dgst -sha256 -hmac` begins with.
fn hashed(key: &[u8], user: &UserId) -> [u8; 8] {
    let mut first = [0; 8];
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        mac.update(user.as_str().as_bytes());
        first.copy_from_slice(&mac.finalize().into_bytes()[..8]);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_can_compute_it() {
        // printf USR_1 | openssl dgst -sha256 -hmac a-key-of-operators
        let name = hashed(b"a-key-of-operators", &UserId::parse("USR_1").unwrap());
        assert_eq!(name.map(|byte| format!("{byte:02x}")).concat(), "d164ca9048b46fe7");
    }
}
