//! Spans: begun, ended when they are dropped, and sent.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use parking_lot::Mutex;

use super::export::Exporter;
use super::ids::{CallTraces, Place};
use crate::clock::Clock;
use crate::telemetry::about::About;

/// Where spans go.
pub(super) struct Tracer {
    pub(super) clock: Clock,
    pub(super) calls: CallTraces,
    pub(super) scope: InstrumentationScope,
    pub(super) exporter: Exporter,
}

/// A span that has begun.
pub(in crate::telemetry) struct Open {
    pub(super) tracer: Arc<Tracer>,
    pub(super) place: Place,
    pub(super) noted: Mutex<Noted>,
}

/// What was noted of a span.
#[derive(Default)]
pub(super) struct Noted {
    pub(super) attributes: Vec<KeyValue>,
    pub(super) events: Vec<Event>,
}

/// Ends a span when it is dropped.
pub(in crate::telemetry) struct Ending {
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

impl Open {
    /// Begins a span; it ends when the second is dropped.
    pub(super) fn begin(
        tracer: &Arc<Tracer>,
        name: &'static str,
        kind: SpanKind,
        about: Arc<About>,
        (parent, remote): (Place, bool),
        cause: Option<Place>,
    ) -> (Arc<Self>, Ending) {
        let open = Arc::new(Open { tracer: Arc::clone(tracer), place: parent.below(), noted: Mutex::default() });
        let began = (tracer.clock.since_epoch(), tracer.clock.elapsed());
        let ending = Ending { open: Arc::clone(&open), name, kind, about, parent: parent.span, remote, cause, began };
        (open, ending)
    }
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
pub(super) struct Finished {
    pub(super) place: Place,
    pub(super) parent: SpanId,
    pub(super) remote: bool,
    pub(super) cause: Option<Place>,
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    /// Both since the Unix epoch.
    pub(super) time: (Duration, Duration),
    pub(super) attributes: Vec<KeyValue>,
    pub(super) events: Vec<Event>,
}

impl Tracer {
    /// Sends a span.
    pub(super) fn finish(&self, span: Finished) {
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

/// Something that happened during a span.
pub(super) fn event_at(name: &'static str, since_epoch: Duration, attributes: Vec<KeyValue>) -> Event {
    Event::new(name, UNIX_EPOCH + since_epoch, attributes, 0)
}
