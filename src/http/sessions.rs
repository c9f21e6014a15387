//! Requests that name a session of the engine: which of them are looked at.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;

use super::ClientAddress;
use super::per_address::PerAddress;
use crate::socket::{EngineId, Transports};

/// Hexadecimal digits of a node's mark.
const MARK_LENGTH: usize = 10;

/// What the sid of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionName<'a> {
    pub id: EngineId,
    /// As it was written.
    pub text: &'a str,
    /// The node it lies at; absent where the client wrote none.
    pub mark: Option<&'a str>,
}

impl<'a> SessionName<'a> {
    /// Absent where no node can have handed it out.
    pub fn parse(sid: &'a str) -> Option<Self> {
        let (text, mark) = match sid.split_once('.') {
            Some((text, mark)) => (text, Some(mark)),
            None => (sid, None),
        };
        let is_mark = |mark: &str| {
            mark.len() == MARK_LENGTH && mark.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let id = EngineId::parse(text)?;
        mark.is_none_or(is_mark).then_some(Self { id, text, mark })
    }
}

/// Requests of sessions that are open. Nothing is stored for any other.
pub struct SessionRequests {
    transports: Arc<Transports>,
    addresses: ClientAddress,
    limit: PerAddress,
}

impl SessionRequests {
    /// `per_second` 0: no limit.
    pub fn new(transports: Arc<Transports>, addresses: ClientAddress, per_second: u32) -> Self {
        Self { transports, addresses, limit: PerAddress::new(per_second) }
    }

    /// Whose request this is.
    pub(super) fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.addresses.of(peer, headers)
    }

    /// How long this client has to wait; absent where it need not.
    pub(super) fn refuses(&self, client: IpAddr) -> Option<Duration> {
        self.limit.refuses(client)
    }

    pub(super) fn is_live(&self, id: EngineId) -> bool {
        self.transports.is_live(id)
    }

    /// Forgets addresses whose allowance is whole again.
    pub fn clean(&self) {
        self.limit.clean();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_by_an_id_and_perhaps_a_mark() {
        let id = "AAz09-_AAz09-_AA";
        let parsed = |sid: &str| SessionName::parse(sid).map(|name| name.mark.map(str::to_owned));
        assert_eq!(parsed(id), Some(None));
        assert_eq!(parsed(&format!("{id}.0123456789")), Some(Some("0123456789".into())));
        for mark in ["", "012345678", "01234567890", "012345678g", "012345678A", "01234.6789"] {
            assert_eq!(parsed(&format!("{id}.{mark}")), None, "{mark}");
        }
        assert_eq!(parsed(&format!("{}.0123456789", "0".repeat(20_000))), None);
    }
}
