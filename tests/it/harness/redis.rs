use std::io::{BufRead, BufReader, Read, Write};
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
        // Another process may have taken the port meanwhile.
        let started = (0..3).find_map(|_| Self::try_on(free_port(), options));
        started.expect("redis-server does not answer; is it installed?")
    }

    /// A sentinel with this configuration, which it rewrites.
    pub fn sentinel(configuration: &std::path::Path) -> Self {
        Self::start_with(&[configuration.to_str().expect("a path"), "--sentinel"])
    }

    pub fn start_on(port: u16, options: &[&str]) -> Self {
        Self::try_on(port, options).expect("redis-server does not answer; is it installed?")
    }

    fn try_on(port: u16, options: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory for redis");
        let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        let (guard, pid) = launch(port, &options, &directory)?;
        Some(Self { port, pid, options, guard, directory })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server and starts it again on the same port, with what it kept.
    pub fn restart(&mut self) {
        self.stop();
        (self.guard, self.pid) = launch(self.port, &self.options, &self.directory).expect("redis-server starts again");
    }

    pub fn stop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }

    /// `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        signal(&self.pid, name);
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

/// Sends a signal. A process that is to stand still does when this returns: its threads stop one after the other.
pub fn signal(pid: &str, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), pid]).status();
    assert!(sent.expect("kill runs").success());
    let runs = || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let mut states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        states.any(|state| !state.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['T', 't'])))
    };
    let sent = Instant::now();
    while name == "STOP" && runs() && sent.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(1)); // the system tells nobody
    }
}

/// `redis-server`, or what `scripts/valkey-tests` puts in its place.
#[expect(clippy::disallowed_methods, reason = "no option of a node")]
fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

/// Absent where no Redis answers at the port: a test that went on would wait for its store for ever.
fn launch(port: u16, options: &[String], directory: &tempfile::TempDir) -> Option<(Child, String)> {
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
    while !is_redis(port) {
        if started.elapsed() > Duration::from_secs(20) {
            drop(guard.stdin.take());
            let _ = guard.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10)); // a server in another process has no event to wait for
    }
    Some((guard, pid.trim().to_owned()))
}

/// Whether what listens there answers as Redis does, if only that it wants a password.
fn is_redis(port: u16) -> bool {
    let asks = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer[0])
    };
    asks().is_ok_and(|first| b"+-".contains(&first))
}

/// The server that all tests share, each under its own prefix.
pub fn shared() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(Redis::start)
}

/// A port that nobody has, for a server that can't choose one. None of those that the system gives to whoever binds or
/// connects without a choice: such a one would be taken before the server is up.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
