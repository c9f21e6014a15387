use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Runs a server, tells its process id, and kills it when standard input ends, which it does with this process. Ends when
/// the server has: one that is dying still takes connections, and holds the port.
const GUARD: &str = r#""$@" >/dev/null & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null; wait $! 2>/dev/null"#;

/// A `redis-server` that dies with this process.
pub struct Redis {
    pub port: u16,
    pid: String,
    options: Vec<String>,
    guard: Child,
    directory: tempfile::TempDir,
}

impl Redis {
    /// Keeps nothing.
    pub fn start() -> Self {
        Self::start_with(&["--appendonly", "no"])
    }

    /// Keeps everything over a restart.
    pub fn durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub fn start_with(options: &[&str]) -> Self {
        Self::start_on(free_port(), options)
    }

    /// A sentinel with this configuration, which it rewrites.
    pub fn sentinel(configuration: &std::path::Path) -> Self {
        Self::start_with(&[configuration.to_str().expect("a path"), "--sentinel"])
    }

    pub fn start_on(port: u16, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for redis");
        let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        let (guard, pid) = launch(port, &options, &directory);
        Self { port, pid, options, guard, directory }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server and starts it again on the same port, with what it kept.
    pub fn restart(&mut self) {
        self.stop();
        (self.guard, self.pid) = launch(self.port, &self.options, &self.directory);
    }

    pub fn stop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }

    /// `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), self.pid.as_str()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Runs a command by `redis-cli` and returns what it printed.
    pub fn command(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        // It would wait for ever for a server that says nothing.
        let patient = ["60", "redis-cli", "-p", &port];
        let output = Command::new("timeout").args(patient).args(arguments).output().expect("redis-cli runs");
        assert!(output.status.code() != Some(124), "redis does not answer {arguments:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `redis-server`, or what `scripts/valkey-tests` puts in its place.
#[expect(clippy::disallowed_methods, reason = "no option of a node")]
fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

fn launch(port: u16, options: &[String], directory: &tempfile::TempDir) -> (Child, String) {
    let mut guard = Command::new("sh")
        // A configuration file comes first.
        .args(["-c", GUARD, "redis", &program()])
        .args(options)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let mut pid = String::new();
    BufReader::new(guard.stdout.take().expect("its output")).read_line(&mut pid).expect("a process id");
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "redis-server does not answer; is it installed?");
        std::thread::sleep(Duration::from_millis(10)); // a server in another process has no event to wait for
    }
    (guard, pid.trim().to_owned())
}

/// The server that all tests share, each under its own prefix.
pub fn shared() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(Redis::start)
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}
