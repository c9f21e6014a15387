//! `LOG_LEVEL`: the usual words of other programs mean what they mean there; anything else is an error, since a filter
//! that matches nothing would silence the node.

/// Words of syslog, npm, Python and .NET, and what they are here.
const WORDS: [(&str, &str); 17] = [
    ("off", "off"),
    ("none", "off"),
    ("silent", "off"),
    ("error", "error"),
    ("err", "error"),
    ("critical", "error"),
    ("fatal", "error"),
    ("warn", "warn"),
    ("warning", "warn"),
    ("info", "info"),
    ("information", "info"),
    ("notice", "info"),
    ("debug", "debug"),
    ("verbose", "debug"),
    ("trace", "trace"),
    ("all", "trace"),
    ("silly", "trace"),
];

/// The filter: one level, or a comma list of those of modules, as in `warn,onlycare_signaling=debug`.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    let directives = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read: Result<Vec<String>, String> = directives.map(directive).collect();
    read.map(|read| read.join(","))
}

fn directive(part: &str) -> Result<String, String> {
    let Some((module, level)) = part.split_once('=') else { return Ok(word(part)?.to_owned()) };
    let is_module = !module.is_empty() && module.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
    if !is_module {
        return Err(format!("LOG_LEVEL: {module:?} is no module: write it as onlycare_signaling=debug"));
    }
    Ok(format!("{module}={}", word(level)?))
}

fn word(text: &str) -> Result<&'static str, String> {
    let found = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
    found
        .map(|(_, level)| *level)
        .ok_or_else(|| format!("LOG_LEVEL: {text:?} is no level: allowed are off, error, warn, info, debug, trace"))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[test]
    fn usual_words_are_levels() {
        for (given, filter) in [
            ("info", "info"),
            ("Warning", "warn"),
            ("VERBOSE", "debug"),
            ("off", "off"),
            ("warn, onlycare_signaling=verbose", "warn,onlycare_signaling=debug"),
            ("onlycare_signaling::store=trace,", "onlycare_signaling::store=trace"),
        ] {
            assert_eq!(log_level(given), Ok(filter.into()), "{given}");
        }
        for (_, level) in WORDS {
            EnvFilter::try_new(level).unwrap();
        }
    }

    #[test]
    fn what_would_silence_the_node_is_an_error() {
        for wrong in [
            "loud",
            "infos",
            "onlycare_signaling",
            "onlycare-signaling=debug",
            "=debug",
            "a=b",
            "info;debug",
            "[x]=info",
        ] {
            assert!(log_level(wrong).unwrap_err().starts_with("LOG_LEVEL: "), "{wrong}");
        }
    }
}
