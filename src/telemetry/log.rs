//! Log lines: flat, with the same few names on all of them, on every line of JSON the node's own.

use std::fmt;
use std::io::IsTerminal;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::call_log;
use super::trace::Here;
use super::who::{self, Users};
use crate::call::NodeId;

/// How log lines look; auto is text on a terminal, else JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Auto,
    Json,
    Text,
}

/// Starts logging to standard output; the first start of a process wins. `aloud`: the log of each call at `info`.
pub fn start(format: LogFormat, level: &str, node: &NodeId, users: Users, aloud: bool) {
    who::start(users);
    call_log::start(aloud);
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stdout().is_terminal();
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let lines = Lines { json, colours: terminal, node: node.to_string() };
    let lines = tracing_subscriber::fmt::layer().event_format(lines);
    let _ = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_logged)).with(lines).try_init();
}

/// The client of Redis says for each of its connections what [`outage`](super::outage) says once. Below `info` libraries print what passes through them, tokens included, whatever the filter was meant for.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let least = if metadata.target().starts_with("fred") { Level::ERROR } else { Level::INFO };
    *metadata.level() <= least || metadata.target().starts_with("onlycare_signaling")
}

struct Lines {
    json: bool,
    colours: bool,
    node: String,
}

/// The fields of one line, in order.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Self(Map::new());
        event.record(&mut fields);
        // What the line says itself is more exact.
        let here = Here::get();
        here.about.each(|name, id| fields.put(name, || id.to_string().into()));
        if let Some((trace, span)) = here.traced() {
            fields.put("trace_id", || trace.into());
            fields.put("span_id", || span.into());
        }
        fields
    }

    fn put(&mut self, name: &str, value: impl FnOnce() -> Value) {
        // Records of the older `log` crate bring their origin along.
        if !self.0.contains_key(name) && !name.starts_with("log.") {
            self.0.insert(name.to_owned(), value());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), || format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), || value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), || value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), || value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), || value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), || value.into());
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut at = String::new();
        SystemTime.format_time(&mut Writer::new(&mut at))?;
        let level = *event.metadata().level();
        let Fields(mut fields) = Fields::of(event);
        let message = fields.shift_remove("message").unwrap_or_default();
        if self.json {
            let mut object = Map::new();
            object.insert("timestamp".into(), at.into());
            object.insert("level".into(), level.as_str().into());
            object.insert("node".into(), self.node.as_str().into());
            object.insert("message".into(), message);
            object.extend(fields);
            return writeln!(line, "{}", Value::Object(object));
        }
        match self.colours {
            true => write!(line, "{at} \x1b[{}m{level:>5}\x1b[0m ", colour(level))?,
            false => write!(line, "{at} {level:>5} ")?,
        }
        plain(&mut line, &message)?;
        for (name, value) in &fields {
            write!(line, " {name}=")?;
            plain(&mut line, value)?;
        }
        writeln!(line)
    }
}

/// A value as text. What a terminal would obey, or take for a line of its own, is escaped.
fn plain(line: &mut Writer<'_>, value: &Value) -> fmt::Result {
    let Value::String(text) = value else { return write!(line, "{value}") };
    for character in text.chars() {
        match character.is_control() {
            true => write!(line, "{}", character.escape_default())?,
            false => line.write_char(character)?,
        }
    }
    Ok(())
}

fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::call::{CallId, SessionId, UserId};
    use crate::telemetry::About;
    use crate::telemetry::trace::{Kind, Traces};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Page;

        fn make_writer(&'a self) -> Page {
            self.clone()
        }
    }

    /// What is written by work that is about a call.
    async fn written(json: bool, write: fn()) -> String {
        let page = Page::default();
        let lines = Lines { json, colours: false, node: "n".into() };
        let layer = tracing_subscriber::fmt::layer().event_format(lines).with_writer(page.clone());
        let subscriber = tracing_subscriber::registry().with(filter_fn(may_be_logged)).with(layer);
        let session = SessionId::from_random(7);
        let about =
            About { call: CallId::parse("CALL_1").ok(), ..About::session(&UserId::parse("USR_1").unwrap(), &session) };
        let work = async { tracing::subscriber::with_default(subscriber, write) };
        Traces::default().run("work", Kind::Internal, about, work).await;
        String::from_utf8(page.0.lock().clone()).unwrap()
    }

    #[tokio::test]
    async fn a_line_says_what_the_work_is_about() {
        let line = written(true, || tracing::info!(attempt = 2, "done")).await;
        let read: Value = serde_json::from_str(&line).unwrap();
        let fields: Vec<&str> = read.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["timestamp", "level", "node", "message", "attempt", "call", "user", "session"]);
        assert_eq!((&read["call"], &read["user"], &read["attempt"]), (&"1".into(), &"USR_1".into(), &2.into()));
        let line = written(true, || tracing::info!(call = "2", "the line's own word is more exact")).await;
        assert_eq!((line.matches("\"call\"").count(), line.contains("\"call\":\"2\"")), (1, true), "{line}");
    }

    #[tokio::test]
    async fn text_is_one_line_without_escapes() {
        let line = written(false, || tracing::warn!(reason = "a\nb\u{1b}[31m", "refused")).await;
        assert!(
            line.ends_with(&format!(" WARN refused reason=a\\nb\\u{{1b}}[31m call=1 user=USR_1 session={:032x}\n", 7)),
            "{line}"
        );
    }

    #[tokio::test]
    async fn libraries_say_nothing_below_info() {
        assert_eq!(written(true, || tracing::debug!(target: "hyper", "token")).await, "");
        assert_ne!(written(true, || tracing::debug!("own")).await, "");
    }
}
