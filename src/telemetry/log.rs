//! Log lines: flat, with the same few names on all of them, on every line of JSON the node's own.

use std::fmt;
use std::io::IsTerminal;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::about::Here;
use super::who::{self, Users};
use crate::call::NodeId;

/// How log lines look; auto is text on a terminal, else JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Auto,
    Json,
    Text,
}

/// Starts logging to standard output; the first start of a process wins.
pub fn start(format: LogFormat, level: &str, node: &NodeId, users: Users) {
    who::start(users);
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stdout().is_terminal();
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let lines = Lines { json, colours: terminal, node: node.to_string() };
    let _ = tracing_subscriber::fmt().with_env_filter(filter).event_format(lines).try_init();
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
        Here::get().about().each(|name, id| fields.put(name, || id.to_string().into()));
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
