//! Where values come from: the environment, `.env`, files. What is there and can't be read is an error: a variable
//! that is lost in silence could open the node.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;

use super::options::OPTIONS;

/// The variables of the environment over those of `.env`, and what is wrong with either. An empty value counts as none:
/// it hides nothing that `.env` says.
pub(super) fn variables(
    dotenv: &Path,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut variables, mut errors) = match std::fs::read(dotenv) {
        Ok(bytes) => parse_dotenv(&bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Default::default(),
        Err(error) => (BTreeMap::new(), vec![format!(".env is there and can't be read: {error}")]),
    };
    for (name, value) in environment {
        // Whoever else's variables may hold what they like.
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) if value.trim().is_empty() && variables.contains_key(&name) => {}
            Ok(value) => drop(variables.insert(name, value)),
            Err(_) if is_ours(&name) => errors.push(format!("{name} is no UTF-8 text")),
            Err(_) => {}
        }
    }
    (variables, errors)
}

fn is_ours(name: &str) -> bool {
    let base = name.strip_suffix("_FILE").unwrap_or(name);
    OPTIONS.iter().any(|option| option.name == base)
}

/// The value in the file that `<NAME>_FILE` names, or why there is none.
pub(super) fn from_file(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("is set but names no file".into());
    }
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| "names a file that is no UTF-8 text")?;
    // Some editors begin a file with a byte order mark, which is no part of a secret.
    match text.trim_start_matches('\u{feff}').trim() {
        "" => Err("names an empty file".into()),
        value => Ok(value.to_owned()),
    }
}

/// `NAME=value` lines: quotes around a value and comments are dropped. Lines are named by number in errors, never by
/// their text, which may be a secret.
pub(super) fn parse_dotenv(bytes: &[u8]) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut variables, mut errors) = (BTreeMap::new(), Vec::new());
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        match std::str::from_utf8(line).map_err(|_| "is no UTF-8 text").and_then(parse_line) {
            Ok(Some((name, value))) => drop(variables.insert(name.to_owned(), value.to_owned())),
            Ok(None) => {}
            Err(why) => errors.push(format!(".env: line {number} {why}")),
        }
    }
    (variables, errors)
}

fn parse_line(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("is no NAME=value")?;
    let name = name.trim();
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("has no name before its =");
    }
    if value.contains('\0') {
        return Err("holds a NUL");
    }
    parse_value(value).map(|value| Some((name, value)))
}

fn parse_value(value: &str) -> Result<&str, &'static str> {
    let trimmed = value.trim();
    if let Some(quote) = trimmed.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let inner = &trimmed[1..];
        if let Some(inner) = inner.strip_suffix(quote) {
            return Ok(inner);
        }
        let (inner, rest) = inner.split_once(quote).ok_or("opens a quote and does not close it")?;
        let is_comment = rest.starts_with(char::is_whitespace) && rest.trim_start().starts_with('#');
        return if is_comment { Ok(inner) } else { Err("goes on after its closing quote") };
    }
    // A comment begins with white space and a number sign: a sign inside a secret is part of it.
    let comment = value.match_indices('#').find(|(at, _)| value[..*at].ends_with(char::is_whitespace));
    Ok(comment.map_or(value, |(at, _)| &value[..at]).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dotenv(name: &str, bytes: &[u8]) -> (BTreeMap<String, String>, Vec<String>) {
        let path = std::env::temp_dir().join(format!("dotenv-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let read = variables(&path, std::iter::empty());
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn dotenv_is_read_like_the_deployed_server_reads_it() {
        let text = "# c\nPORT=3002\r\nexport AUTH=\"insecure\"\nLARAVEL_API_SECRET='a=b#c'\n\nNODE_ENV=production # live\n\
                    A=\"b\" # c\nB= # c\nC=a#b\nD=\"x\"y\"";
        let (read, errors) = parse_dotenv(text.as_bytes());
        assert_eq!(errors, Vec::<String>::new());
        let of = |name: &str| read[name].as_str();
        assert_eq!(
            ["PORT", "AUTH", "LARAVEL_API_SECRET", "NODE_ENV"].map(of),
            ["3002", "insecure", "a=b#c", "production"]
        );
        assert_eq!(["A", "B", "C", "D"].map(of), ["b", "", "a#b", "x\"y"]);
        assert_eq!(parse_dotenv(b"\xef\xbb\xbfPORT=3002\n").0, parse_dotenv(b"PORT=3002\n").0, "a byte order mark");
    }

    #[test]
    fn a_dotenv_that_cannot_be_parsed_is_an_error_without_its_text() {
        let lines: [&[u8]; 7] =
            [b"S=hush\xe9", b"hush", b"S hush", b"=hush", b"S=\"hush", b"S='hush'hush", b"S=hush\0hush"];
        for line in lines {
            let (_, errors) = dotenv("broken", &[b"PORT=1\n", line].concat());
            assert_eq!(errors.len(), 1, "{line:?}");
            assert!(errors[0].starts_with(".env: line 2 ") && !errors[0].contains("hush"), "{errors:?}");
        }
    }

    #[test]
    fn a_dotenv_that_cannot_be_read_is_an_error_and_one_that_is_not_there_none() {
        let folder = std::env::temp_dir();
        assert!(variables(&folder, std::iter::empty()).1[0].contains("can't be read"), "a folder");
        assert!(variables(&folder.join("no-such-dotenv"), std::iter::empty()).1.is_empty());
    }

    #[test]
    fn the_environment_wins_unless_it_is_empty() {
        use std::os::unix::ffi::OsStringExt;
        let path = std::env::temp_dir().join(format!("dotenv-env-{}", std::process::id()));
        std::fs::write(&path, "LARAVEL_API_URL=https://l.test\nPORT=1\n").unwrap();
        let latin = OsString::from_vec(b"\xe9".to_vec());
        let environment = [
            ("LARAVEL_API_URL".into(), "".into()),
            ("PORT".into(), "2".into()),
            ("NODE_ENV".into(), latin.clone()),
            ("WEBHOOK_SECRET_FILE".into(), latin.clone()),
            ("GREETING".into(), latin.clone()),
            (latin, "x".into()),
        ];
        let (read, errors) = variables(&path, environment.into_iter());
        std::fs::remove_file(&path).unwrap();
        assert_eq!((read["LARAVEL_API_URL"].as_str(), read["PORT"].as_str()), ("https://l.test", "2"));
        assert_eq!(errors, ["NODE_ENV is no UTF-8 text", "WEBHOOK_SECRET_FILE is no UTF-8 text"]);
    }

    #[test]
    fn a_file_that_says_nothing_is_an_error() {
        let path = std::env::temp_dir().join(format!("value-file-{}", std::process::id()));
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            from_file(path.to_str().unwrap())
        };
        assert_eq!(read(b"\xef\xbb\xbfhush\r\n"), Ok("hush".into()));
        for bytes in [&b""[..], b" \n", b"hush\xe9"] {
            assert!(!read(bytes).unwrap_err().contains("hush"));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(from_file("").is_err() && from_file(path.to_str().unwrap()).is_err());
    }
}
