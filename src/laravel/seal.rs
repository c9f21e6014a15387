//! Bearer tokens in call records, so that any node can call Laravel back in a party's name: sealed with a key that is
//! derived from the secret shared with Laravel, and never in the clear outside of this process.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::call::SealedToken;

const PURPOSE: &[u8] = b"onlycare-signaling token seal 1";

/// Seals with its first key, opens with any: secrets can be changed over.
pub struct Sealer(Vec<LessSafeKey>);

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        CHACHA20_POLY1305.key_len()
    }
}

impl Sealer {
    /// From secrets that all nodes share, the current one first.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        let salt = Salt::new(HKDF_SHA256, PURPOSE);
        let keys = secrets.filter_map(|secret| {
            let mut key = [0; 32];
            salt.extract(secret).expand(&[b"key"], KeyLength).and_then(|derived| derived.fill(&mut key)).ok()?;
            UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
        });
        Self(keys.collect())
    }

    /// None where there is no secret to derive a key from.
    pub fn seal(&self, token: &str) -> Option<SealedToken> {
        let key = self.0.first()?;
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = token.as_bytes().to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(PURPOSE), &mut sealed).ok()?;
        Some(SealedToken::new(&URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    pub fn open(&self, sealed: &SealedToken) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed.as_str()).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        self.0.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = sealed.to_vec();
            let token = key.open_in_place(nonce, Aad::from(PURPOSE), &mut text).ok()?;
            String::from_utf8(token.to_vec()).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_opened_by_who_has_the_secret() {
        let sealer = |secrets: &[&'static str]| Sealer::new(secrets.iter().map(|secret| secret.as_bytes()));
        let old = sealer(&["old"]);
        let sealed = old.seal("12|token").unwrap();
        assert!(!sealed.as_str().contains("token"));
        assert_eq!(old.open(&sealed).as_deref(), Some("12|token"));
        assert_eq!(sealer(&["new", "old"]).open(&sealed).as_deref(), Some("12|token"), "while secrets change over");
        assert_eq!(sealer(&["new"]).open(&sealed), None);
        assert_ne!(old.seal("12|token"), Some(sealed), "sealed anew each time");
        assert_eq!(old.open(&SealedToken::new("AAAA")), None);
        assert_eq!(sealer(&[]).seal("12|token"), None);
    }
}
