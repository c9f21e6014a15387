//! A second call under one id. Phones choose the ids of calls, so that two may choose the same, by mistake or to keep the
//! other from his; where nobody can say whose it is the id is each one's own: it names one call of each caller's.

use sha2::{Digest, Sha256};

use super::{Call, CallId, UserId};

/// No id of a phone's or of the backend's begins with it in its normal form.
const PREFIX: &str = "CALL_";
/// Of the hash; all of it with the prefix is longer than an id may be.
const BYTES: usize = 16;

impl CallId {
    /// Under what the call is stored that `caller` dialled by this id when it was another's. No request can name it.
    pub fn doubled(&self, caller: &UserId) -> Self {
        let digest =
            Sha256::new().chain_update(self.as_str()).chain_update([0]).chain_update(caller.as_str()).finalize();
        let hash: String = digest.iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect();
        Self::stored(&format!("{PREFIX}{hash}")).unwrap_or_else(|_| self.clone())
    }

    pub fn is_doubled(&self) -> bool {
        self.as_str().starts_with(PREFIX)
    }
}

impl Call {
    /// The id by which phones and the backend know it.
    pub fn known_id(&self) -> CallId {
        let wire_id = || CallId::parse(&self.wire_id).ok();
        Some(&self.id).filter(|id| !id.is_doubled()).cloned().or_else(wire_id).unwrap_or_else(|| self.id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_id_is_each_callers_own_and_nobody_can_say_it() {
        let (id, ana, bo) =
            (CallId::parse("CALL_1").unwrap(), UserId::parse("ana").unwrap(), UserId::parse("bo").unwrap());
        let doubled = id.doubled(&ana);
        assert!(doubled.is_doubled() && !id.is_doubled());
        assert_eq!(doubled, CallId::parse("1").unwrap().doubled(&ana), "the same in every process");
        assert_eq!(doubled.as_str(), "CALL_36f4d7fc7cf2feb37803670e8b6b6348");
        assert_ne!(doubled, id.doubled(&bo));
        assert_ne!(doubled, CallId::parse("2").unwrap().doubled(&ana));
        assert_ne!(CallId::parse(doubled.as_str()).unwrap(), doubled);
        assert_eq!(CallId::stored(doubled.as_str()).unwrap(), doubled);
    }
}
