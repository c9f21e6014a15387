use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A `redis-server` that dies with this process: its guard waits for the end of its standard input.
pub struct Redis {
    pub port: u16,
    guard: Child,
    _directory: tempfile::TempDir,
}

impl Redis {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for redis");
        let port = free_port();
        let script = r#"redis-server --port "$1" --bind 127.0.0.1 --save '' --appendonly no --dir "$2" >/dev/null &
            cat >/dev/null; kill -9 $!"#;
        let guard = Command::new("sh")
            .args(["-c", script, "redis", &port.to_string()])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let redis = Self { port, guard, _directory: directory };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not answer; is it installed?");
            std::thread::sleep(Duration::from_millis(10)); // a server in another process has no event to wait for
        }
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The server that all tests share, each under its own prefix.
pub fn shared() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(Redis::start)
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}
