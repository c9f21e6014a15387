//! A server that this program starts and that dies with it, however it dies.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::procfs;

/// Tells the command's process id, before anything that it says; runs it; kills it when standard input ends, which it does with this program.
const GUARD: &str = r#"
/bin/sh -c 'echo "$$"; exec "$@"' guarded "$@" </dev/null &
exec >/dev/null 2>&1
cat >/dev/null
kill -9 $!
wait $!
"#;

/// Kinds of log lines that are kept; more are only counted.
const KEPT: usize = 50;

/// Lines of a server's output that tell of trouble: message and how often.
type Troubles = Arc<Mutex<BTreeMap<String, u64>>>;

pub struct Child {
    pub pid: u32,
    pub name: String,
    guard: Process,
    lines: Receiver<String>,
    troubles: Troubles,
}

impl Child {
    /// Starts a program with this environment and no other, in the directory for temporary files.
    pub fn start(
        name: &str,
        program: &str,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARD, "guard", program])
            .args(arguments)
            .current_dir(std::env::temp_dir())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A ctrl-c on the terminal is for this program, which then ends its children.
            .process_group(0);
        let mut guard = command.spawn().context("/bin/sh can't be started")?;
        let output = guard.stdout.take().context("no output")?;
        let (sender, lines) = sync_channel(64);
        let troubles = Troubles::default();
        let seen = Arc::clone(&troubles);
        std::thread::Builder::new().name(format!("output of {name}")).spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                note(&line, &seen);
                // Nobody reads on once the server is up: drained all the same.
                let _ = sender.try_send(line);
            }
        })?;
        let mut child = Self { pid: 0, name: name.to_owned(), guard, lines, troubles };
        child.pid = child.find_line(|line| line.parse().ok())?;
        Ok(child)
    }

    /// Waits for a line of its output that `find` recognises.
    pub fn find_line<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut last = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match find(&line) {
                    Some(found) => return Ok(found),
                    None => last = line,
                },
                Err(RecvTimeoutError::Timeout) => bail!("{} does not start; it said last: {last}", self.name),
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended; it said last: {last}", self.name),
            }
        }
    }

    /// Ends the process without a word; returns when it has ended.
    pub fn kill(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }

    /// False once the process has ended, by whatever cause.
    pub fn is_alive(&self) -> bool {
        // One that ended is a zombie of its guard, or gone.
        procfs::is_running(self.pid)
    }

    /// Forgets the troubles so far: those of its start.
    pub fn forget_troubles(&self) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Warnings and errors that it logged, and how often.
    pub fn troubles(&self) -> BTreeMap<String, u64> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn note(line: &str, troubles: &Troubles) {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return };
    let (Some(level), Some(message)) = (line["level"].as_str(), line["message"].as_str()) else { return };
    if matches!(level, "WARN" | "ERROR") {
        let mut troubles = troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{level} {message}");
        if troubles.len() < KEPT || troubles.contains_key(&key) {
            *troubles.entry(key).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_dies_with_its_guard() {
        let child = Child::start("sleep", "sleep", &["600"], &[]).expect("it starts");
        let pid = child.pid;
        assert!(child.is_alive());
        drop(child);
        assert!(!procfs::is_running(pid));
    }

    #[test]
    fn lines_are_found_and_warnings_counted() {
        let script =
            r#"echo '{"level":"WARN","message":"slow"}'; echo '{"level":"WARN","message":"slow"}'; echo ready"#;
        let mut child = Child::start("script", "sh", &["-c", script], &[]).expect("it starts");
        child.find_line(|line| (line == "ready").then_some(())).expect("the line");
        assert_eq!(child.troubles()["WARN slow"], 2);
        assert!(child.find_line(|line| (line == "never").then_some(())).is_err());
    }

    #[test]
    fn a_program_that_does_not_exist_is_told() {
        let mut child = Child::start("nothing", "/no/such/program", &[], &[]).expect("its guard starts");
        assert!(child.find_line(|line| line.parse::<u32>().ok()).is_err());
    }
}
