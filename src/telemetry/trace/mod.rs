//! Traces: one for each call, whatever nodes it meets. Off, no span is made and nothing is sent.

mod export;
mod here;
mod ids;
mod span;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::SpanId;
use opentelemetry::{InstrumentationScope, KeyValue, Value};

use super::about::About;
use super::who::Who;
use crate::call::{Call, NodeId, SessionId};
use crate::clock::Clock;
use export::Exporter;
pub use export::{ExporterSettings, TraceError};
pub(super) use here::Here;
pub use here::carry;
use ids::{CallTraces, Place};
pub use opentelemetry::trace::SpanKind as Kind;
use span::{Ending, Finished, Open, Tracer, event_at};

/// More is not noted of one span.
const NOTES: usize = 32;

/// Where spans begin. Cheap to share.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Tracer>>);

impl Traces {
    /// Starts sending to a collector; without settings there is nothing to send. `cluster` is told apart from others by
    /// its name.
    pub fn start(
        settings: Option<&ExporterSettings>,
        node: &NodeId,
        cluster: &str,
        clock: &Clock,
    ) -> Result<Self, TraceError> {
        let Some(settings) = settings else { return Ok(Self::default()) };
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
        Ok(Self(Some(Arc::new(Tracer {
            clock: clock.clone(),
            calls: CallTraces::new(cluster, settings.ratio),
            scope: scope.build(),
            exporter: Exporter::start(settings, node)?,
        }))))
    }

    /// Runs work that is about something, in a span of its call's trace: below the span that runs here if that is of
    /// the same call, else below the call itself.
    pub fn run<F: Future>(
        &self,
        name: &'static str,
        kind: Kind,
        about: About,
        work: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let (here, ending) = self.begin(name, kind, about, None);
        here.run(ending, work)
    }

    /// Does what another node caused by an envelope.
    pub fn run_for<T>(
        &self,
        name: &'static str,
        about: About,
        traceparent: Option<&str>,
        work: impl FnOnce() -> T,
    ) -> T {
        let came_with = traceparent.and_then(Place::parse);
        let (here, ending) = self.begin(name, Kind::Consumer, about, came_with);
        here.run_now(ending, work)
    }

    /// A call is over: the span that is the call itself, below which all others lie.
    pub fn ended(&self, call: &Call) {
        let (Some(tracer), Some(end)) = (&self.0, call.end()) else { return };
        let Some(place) = tracer.calls.of(&call.id) else { return };
        let at = |time: crate::call::Timestamp| Duration::from_millis(time.as_millis());
        let events = [("ringing", call.rang_at), ("accepted", call.accepted_at())];
        let events = events.into_iter().filter_map(|(name, time)| Some(event_at(name, at(time?), Vec::new())));
        tracer.finish(Finished {
            place,
            parent: SpanId::INVALID,
            remote: false,
            cause: None,
            name: "call",
            kind: Kind::Internal,
            time: (at(call.created_at), at(end.at)),
            attributes: vec![
                KeyValue::new("call", call.id.to_string()),
                KeyValue::new("caller", Who(&call.caller.user).to_string()),
                KeyValue::new("callee", Who(&call.callee.user).to_string()),
                KeyValue::new("outcome", end.reason.name()),
            ],
            events: events.collect(),
        });
    }

    /// Sends what waits, within a bound: a collector that does not answer holds nobody up.
    pub async fn stop(&self) {
        if let Some(tracer) = self.0.clone() {
            let _ = tokio::task::spawn_blocking(move || tracer.exporter.stop()).await;
        }
    }

    fn begin(&self, name: &'static str, kind: Kind, about: About, came_with: Option<Place>) -> (Here, Option<Ending>) {
        let outer = Here::get();
        let same_call = about.call.is_none() || about.call == outer.about.call;
        let about = Arc::new(about.or(&outer.about));
        let Some(tracer) = &self.0 else { return (Here { about, span: None }, None) };
        let around = outer.span.map(|open| open.place);
        let (parent, remote) = match (came_with, around) {
            (Some(place), _) => (Some(place), true),
            (None, Some(place)) if same_call => (Some(place), false),
            (None, _) => (about.call.as_ref().and_then(|call| tracer.calls.of(call)), true),
        };
        let Some(parent) = parent else { return (Here { about, span: None }, None) };
        let cause = around.filter(|place| place.trace != parent.trace);
        open(tracer, name, kind, about, (parent, remote), cause)
    }
}

/// A part of the work at hand: a span below the one that runs here, if any does.
pub fn part<F: Future>(name: &'static str, kind: Kind, work: F) -> impl Future<Output = F::Output> {
    let outer = Here::get();
    let (here, ending) = match &outer.span {
        Some(around) => open(&around.tracer, name, kind, Arc::clone(&outer.about), (around.place, false), None),
        None => (outer, None),
    };
    here.run(ending, work)
}

/// Notes something of the span that runs here, if any does. Never a payload.
pub fn note<V: Into<Value>>(name: &'static str, value: impl FnOnce() -> V) {
    let Some(open) = Here::get().span else { return };
    let value = value();
    let attributes = &mut open.noted.lock().attributes;
    attributes.retain(|known| known.key.as_str() != name);
    if attributes.len() < NOTES {
        attributes.push(KeyValue::new(name, value));
    }
}

/// Something was said to a session during the span that runs here.
pub fn said(name: &'static str, session: &SessionId) {
    let Some(open) = Here::get().span else { return };
    let now = open.tracer.clock.since_epoch();
    let events = &mut open.noted.lock().events;
    if events.len() < NOTES {
        events.push(event_at(name, now, vec![KeyValue::new("session", session.to_string())]));
    }
}

/// The span that runs here, for an envelope: what another node does because of it lies below.
pub fn traceparent() -> Option<String> {
    Here::get().span.map(|open| open.place.to_string())
}

fn open(
    tracer: &Arc<Tracer>,
    name: &'static str,
    kind: Kind,
    about: Arc<About>,
    parent: (Place, bool),
    cause: Option<Place>,
) -> (Here, Option<Ending>) {
    let (span, ending) = Open::begin(tracer, name, kind, Arc::clone(&about), parent, cause);
    (Here { about, span: Some(span) }, Some(ending))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::CallId;

    #[tokio::test]
    async fn off_no_span_is_made_and_nothing_is_handed_on() {
        let about = About::call(&CallId::parse("1").unwrap());
        let work = async {
            note("never", || -> i64 { unreachable!("there is nothing to note it of") });
            part("part", Kind::Internal, async { (traceparent(), Here::get().traced()) }).await
        };
        assert_eq!(Traces::default().run("work", Kind::Internal, about, work).await, (None, None));
    }
}
