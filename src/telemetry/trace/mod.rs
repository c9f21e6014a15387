//! Traces: one for each call, whatever nodes it meets. Off, no span is made and nothing is sent.

mod export;
mod ids;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use parking_lot::Mutex;

use super::about::{About, Here};
use super::who::Who;
use crate::call::{Call, NodeId, SessionId};
use crate::clock::Clock;
use export::Exporter;
pub use export::{Terms, TraceError};
use ids::{CallTraces, Place};
pub use opentelemetry::trace::SpanKind as Kind;

/// More is not noted of one span.
const NOTES: usize = 32;

/// Where spans begin. Cheap to share.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Tracer>>);

struct Tracer {
    clock: Clock,
    calls: CallTraces,
    scope: InstrumentationScope,
    exporter: Exporter,
}

/// A span that has begun.
pub(super) struct Open {
    tracer: Arc<Tracer>,
    place: Place,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
}

/// Ends a span when it is dropped.
pub(super) struct Ending {
    open: Arc<Open>,
    name: &'static str,
    kind: SpanKind,
    about: Arc<About>,
    parent: SpanId,
    /// The parent began elsewhere.
    remote: bool,
    /// What caused it in another call's trace.
    cause: Option<Place>,
    /// Store time, which nodes share, and the clock that only runs forward.
    began: (Duration, Duration),
}

impl Traces {
    /// Starts sending to a collector; without terms there is nothing to send. `cluster` is told apart from others by
    /// its name.
    pub fn start(terms: Option<&Terms>, node: &NodeId, cluster: &str, clock: &Clock) -> Result<Self, TraceError> {
        let Some(terms) = terms else { return Ok(Self::default()) };
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
        Ok(Self(Some(Arc::new(Tracer {
            clock: clock.clone(),
            calls: CallTraces::new(cluster, terms.ratio),
            scope: scope.build(),
            exporter: Exporter::start(terms, node)?,
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

impl Here {
    /// The ids of trace and span, for log lines.
    pub(super) fn traced(&self) -> Option<(String, String)> {
        let place = self.span.as_ref()?.place;
        Some((place.trace.to_string(), place.span.to_string()))
    }
}

fn open(
    tracer: &Arc<Tracer>,
    name: &'static str,
    kind: Kind,
    about: Arc<About>,
    (parent, remote): (Place, bool),
    cause: Option<Place>,
) -> (Here, Option<Ending>) {
    let open = Arc::new(Open { tracer: Arc::clone(tracer), place: parent.below(), noted: Mutex::default() });
    let ending = Ending {
        open: Arc::clone(&open),
        name,
        kind,
        about: Arc::clone(&about),
        parent: parent.span,
        remote,
        cause,
        began: (tracer.clock.since_epoch(), tracer.clock.elapsed()),
    };
    (Here { about, span: Some(open) }, Some(ending))
}

impl Drop for Ending {
    fn drop(&mut self) {
        let tracer = &self.open.tracer;
        let (began, started) = self.began;
        let took = tracer.clock.elapsed().saturating_sub(started);
        let Noted { attributes: noted, events } = std::mem::take(&mut *self.open.noted.lock());
        let mut attributes = Vec::with_capacity(3 + noted.len());
        self.about.each(|name, id| attributes.push(KeyValue::new(name, id.to_string())));
        attributes.extend(noted);
        tracer.finish(Finished {
            place: self.open.place,
            parent: self.parent,
            remote: self.remote,
            cause: self.cause,
            name: self.name,
            kind: self.kind.clone(),
            time: (began, began + took),
            attributes,
            events,
        });
    }
}

/// A span that is over.
struct Finished {
    place: Place,
    parent: SpanId,
    remote: bool,
    cause: Option<Place>,
    name: &'static str,
    kind: SpanKind,
    /// Both since the Unix epoch.
    time: (Duration, Duration),
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
}

impl Tracer {
    fn finish(&self, span: Finished) {
        let failed = span
            .attributes
            .iter()
            .any(|noted| noted.key.as_str() == "outcome" && noted.value.as_str() == "unavailable");
        let mut events = SpanEvents::default();
        events.events = span.events;
        let mut links = SpanLinks::default();
        links.links = span.cause.map(|place| Link::with_context(context(place, false))).into_iter().collect();
        self.exporter.take(SpanData {
            span_context: context(span.place, false),
            parent_span_id: span.parent,
            parent_span_is_remote: span.remote,
            span_kind: span.kind,
            name: span.name.into(),
            start_time: UNIX_EPOCH + span.time.0,
            end_time: UNIX_EPOCH + span.time.1.max(span.time.0),
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events,
            links,
            status: if failed { Status::error("unavailable") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }
}

fn context(place: Place, remote: bool) -> SpanContext {
    SpanContext::new(place.trace, place.span, TraceFlags::SAMPLED, remote, TraceState::NONE)
}

fn event_at(name: &'static str, since_epoch: Duration, attributes: Vec<KeyValue>) -> Event {
    Event::new(name, UNIX_EPOCH + since_epoch, attributes, 0)
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
