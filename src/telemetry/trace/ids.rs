use std::fmt;

use opentelemetry::trace::{SpanId, TraceId};
use sha2::{Digest, Sha256};

use crate::call::CallId;

/// A span's place in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub trace: TraceId,
    pub span: SpanId,
}

/// Which trace a call has, and whether it has one: by its id alone, so that every node says the same.
pub(super) struct CallTraces {
    cluster: String,
    /// Traces are kept whose last 8 bytes are below.
    bound: Option<u64>,
}

impl CallTraces {
    /// `ratio` from 0 to 1.
    pub fn new(cluster: &str, ratio: f64) -> Self {
        let bound = (ratio < 1.0).then_some((ratio * u64::MAX as f64) as u64);
        Self { cluster: cluster.to_owned(), bound }
    }

    /// The span that is the call itself, below which all others lie; absent for a call that is not traced.
    pub fn of(&self, call: &CallId) -> Option<Place> {
        let digest = Sha256::digest(format!("{}:{call}", self.cluster));
        let (mut trace, mut span, mut last) = ([0; 16], [0; 8], [0; 8]);
        trace.copy_from_slice(&digest[..16]);
        last.copy_from_slice(&digest[8..16]);
        span.copy_from_slice(&digest[16..24]);
        let kept = self.bound.is_none_or(|bound| u64::from_be_bytes(last) < bound);
        kept.then(|| Place { trace: TraceId::from_bytes(trace), span: SpanId::from_bytes(span) })
    }
}

impl Place {
    /// A new span of the same trace.
    pub fn below(self) -> Self {
        // Zero is no id.
        Self { trace: self.trace, span: SpanId::from_bytes(rand::random::<u64>().max(1).to_be_bytes()) }
    }

    /// Reads what [`Place`] prints; anything else is no place.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00" || flags != "01" || parts.next().is_some() || trace.len() != 32 || span.len() != 16 {
            return None;
        }
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        (trace != TraceId::INVALID && span != SpanId::INVALID).then_some(Self { trace, span })
    }
}

/// As the `traceparent` of W3C Trace Context, version 00, sampled.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> CallId {
        CallId::parse(id).unwrap()
    }

    #[test]
    fn every_node_says_the_same_of_a_call() {
        let place = CallTraces::new("signaling", 1.0).of(&call("CALL_123")).unwrap();
        // printf signaling:123 | sha256sum
        assert_eq!(place.trace.to_string(), "c4582f67b800e9bdc8090fbf2cca3df9");
        assert_eq!(Some(place), CallTraces::new("signaling", 1.0).of(&call("123")));
        assert_ne!(Some(place), CallTraces::new("staging", 1.0).of(&call("123")));
    }

    #[test]
    fn a_share_of_the_calls_is_traced() {
        let (tenth, half) = (CallTraces::new("c", 0.1), CallTraces::new("c", 0.5));
        let calls: Vec<CallId> = (0..10_000).map(|id| call(&id.to_string())).collect();
        let traced = calls.iter().filter(|id| tenth.of(id).is_some());
        assert!(traced.clone().all(|id| half.of(id).is_some()), "a larger share contains the smaller");
        assert!((900..1100).contains(&traced.count()));
        assert!(calls.iter().all(|id| CallTraces::new("c", 0.0).of(id).is_none()));
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let place = CallTraces::new("c", 1.0).of(&call("1")).unwrap().below();
        let text = place.to_string();
        assert_eq!(Place::parse(&text), Some(place));
        for wrong in [
            "",
            "00",
            &text[..54],
            &format!("{text}-1"),
            &text.replacen("00", "01", 1),
            &format!("00-{}-{}-01", "0".repeat(32), place.span),
            &format!("00-{}-{}-01", "ä".repeat(16), place.span),
        ] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
