//! What somebody sees who starts a node: the first line, the last one, an outage, and the mode for trying out.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::cluster::{SECRET, get};
use crate::harness::phone::{unique, unique_call};
use crate::harness::redis::{Redis, free_port};
use crate::harness::{Phone, Profile};
use crate::processes::{Node, prefix};

const PROGRAM: &str = env!("CARGO_BIN_EXE_onlycare-signaling");
const PATIENCE: Duration = Duration::from_secs(60);

/// A program with these variables and no others, in a folder without `.env`.
fn program(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(std::env::temp_dir());
    command
}

/// One that runs, killed when dropped, and the lines that it prints.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = program(arguments, variables).stdout(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// The first line from here on with all of these words.
    fn line(&mut self, words: &[&str]) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if words.iter().all(|word| line.contains(word)) {
                        return line;
                    }
                }
                Err(_) => panic!("no line says {words:?}:\n{}", self.seen.join("\n")),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field(line: &str, name: &str) -> SocketAddr {
    let value = line.split(&format!(" {name}=")).nth(1).and_then(|rest| rest.split(' ').next());
    value.unwrap_or_else(|| panic!("no {name}: {line}")).parse().expect("an address")
}

/// The project's own page was refused its seventh call of a minute, and a node in a container bound what nobody saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_tries_it_out_is_shown_what_happens_and_not_hindered() {
    let mut node = Running::start(&["--dev"], &[("PORT", "0"), ("ADMIN_PORT", "0")]);
    node.line(&["WARN", "ANY TOKEN IS ACCEPTED", "NOT FOR PRODUCTION"]);
    let listening = node.line(&["listening"]);
    let (public, admin) = (field(&listening, "public"), field(&listening, "admin"));
    assert!(public.ip().is_unspecified() && admin.ip().is_loopback(), "{listening}");
    node.line(&["INFO", &format!("open http://127.0.0.1:{}/", public.port()), "nothing is kept"]);
    let public = SocketAddr::from(([127, 0, 0, 1], public.port()));
    let (status, page) = get(public, "/").await;
    assert!(status == 200 && page.to_string().contains("<h1>"), "{page}");

    let (ana, bo) = (Phone::connect(public, Profile::of("Ana")).await, Phone::connect(public, Profile::of("Bo")).await);
    node.line(&["INFO", "Ana connected"]);
    node.line(&["INFO", "Bo connected"]);
    for _ in 0..12 {
        let id = unique_call();
        ana.rings(&id, &bo).await;
        assert_eq!(ana.cancel(&id).await["success"], true);
        bo.expect("call:cancelled").await;
    }
    let id = unique_call();
    let bare = id.trim_start_matches("CALL_");
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    let busy = Phone::connect(public, Profile::of("Cleo")).await;
    assert_eq!(busy.call(&unique_call(), "Bo").await["busy"], true);
    bo.end(&id).await;
    for words in [
        ["Ana calls Bo", bare],
        ["a phone of Bo rings", bare],
        ["Bo accepted", bare],
        ["Cleo calls Bo", ""],
        ["ended: busy", ""],
        ["the call of Ana and Bo ended", bare],
    ] {
        let line = node.line(&words);
        assert!(line.contains("INFO") && !line.contains("agora"), "{line}");
    }

    let port = admin.port().to_string();
    let asked = |port: &str| program(&["--health"], &[("ADMIN_PORT", port)]).stderr(Stdio::null()).status();
    assert!(asked(&port).expect("it runs").success());
    drop(node);
    assert!(!asked(&port).expect("it runs").success());
}

#[test]
fn nobody_tries_out_what_serves_users() {
    let output = program(&["--dev"], &[("REDIS_URL", "redis://10.0.0.5"), ("NODE_ENV", "production")]).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("REDIS_URL") && said.contains("NODE_ENV"), "{said}");
}

/// A misspelled name was a line among others, so that the option it was meant for kept its default.
#[test]
fn a_name_that_is_nearly_an_option_is_refused_by_the_check_and_warned_of_at_the_start() {
    let wrong = [("DRAIN_SECONDS", "5"), ("TRUSTED_PROXY", "10.0.0.0/8")];
    let variables = [("AUTH", "insecure"), ("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0")];
    let all = [&variables[..], &wrong].concat();
    let output = program(&["--check-config"], &all).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for (name, meant) in [("DRAIN_SECONDS", "DRAIN_SECS"), ("TRUSTED_PROXY", "TRUSTED_PROXIES")] {
        assert!(said.contains(&format!("{name} is no option, did you mean {meant}?")), "{said}");
    }
    let mut node = Running::start(&[], &all);
    node.line(&["WARN", "DRAIN_SECONDS"]);
    node.line(&["listening"]);
    // What is near no option may be another program's.
    let other = [&variables[..], &[("REDIS_CLUSTER_NODES", "x")]].concat();
    let output = program(&["--check-config"], &other).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("warning: REDIS_CLUSTER_NODES"), "{said}");
}

/// Fatal errors were plain text on standard error, whatever the format of the log.
#[test]
fn a_fatal_error_is_a_line_of_the_log() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    for (variables, told) in [
        (vec![("LARAVEL_API_URL", "l.test"), ("LOG_LEVEL", "loud")], vec!["LARAVEL_API_URL", "LOG_LEVEL"]),
        (vec![("PORT", port.as_str()), ("ADMIN_PORT", "0")], vec!["the public port"]),
    ] {
        let output = program(&[], &[variables, vec![("LOG_FORMAT", "json")]].concat()).output().expect("it runs");
        assert!(!output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let fatal: Vec<String> =
            lines.filter(|line| line["level"] == "ERROR").map(|line| line["message"].to_string()).collect();
        assert_eq!(fatal.len(), told.len(), "{text}");
        assert!(fatal.iter().zip(told).all(|(line, word)| line.contains(word)), "{fatal:?}");
    }
}

#[test]
fn the_first_line_says_what_the_node_is() {
    let url = format!("redis://:hush@127.0.0.1:{}", free_port());
    let variables = [
        ("LARAVEL_API_URL", "https://l.test/api/v1"),
        ("LARAVEL_API_SECRET", SECRET),
        ("REDIS_URL", &url),
        ("LOG_FORMAT", "json"),
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("MAX_SESSIONS", "0"),
    ];
    let mut node = Running::start(&[], &variables);
    let line: Value = serde_json::from_str(&node.line(&["\"starting\""])).expect("JSON");
    assert_eq!((&line["version"], &line["laravel"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("https://l.test")));
    assert_eq!(line["store"], url.replace(":hush@", ""));
    assert_eq!(line["auth"], "Laravel verifies tokens");
    assert!(line["limits"].as_str().expect("limits").contains("MAX_SESSIONS none"), "{line}");
    assert!(line["listens"].as_str().expect("addresses").contains("127.0.0.1:0"), "{line}");
    // Redis is not there: the node waits, and says so once.
    node.line(&["WARN", "the start waits for it"]);
    assert!(node.seen.iter().all(|line| !line.contains("hush") && !line.contains(SECRET)), "{:?}", node.seen);
}

/// Each command, renewal and retry said that Redis was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_redis_is_two_lines() {
    let mut redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let node = Node::start(&prefix(), &[("REDIS_URL", &redis.url())]);
    let phones = async |names: [&str; 2]| {
        let [one, other] = names.map(|name| Phone::connect(node.public, Profile::of(&unique(name))));
        tokio::join!(one, other)
    };
    let (ana, bo) = phones(["ana", "bo"]).await;
    let mut id = unique_call();
    // A machine that stood still makes the node refuse what was dialled meanwhile.
    while ana.call(&id, &bo.user).await["success"] != true {
        id = unique_call();
    }
    bo.expect("call:incoming").await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    redis.stop();
    for _ in 0..4 {
        let ack = ana.call(&unique_call(), &unique("cleo")).await;
        assert_eq!(ack["success"], false, "{ack}");
    }
    bo.end(&id).await;
    redis.restart();
    while !node.log().contains("redis back after") {
        tokio::time::sleep(Duration::from_millis(50)).await; // another process has no event to wait for
    }
    ana.expect("call:ended").await;
    let log = node.log();
    assert_eq!((log.matches("redis lost").count(), log.matches("redis back after").count()), (1, 1), "{log}");
    let said: Vec<&str> =
        log.split("{\"timestamp\"").filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).collect();
    assert!(said.len() <= 6, "{} lines: {}", said.len(), said.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_password_may_hold_anything() {
    for (password, encoded) in [
        ("a b\"c'd\te", "a%20b%22c'd%09e"),
        ("#/?:@%41", "%23%2F%3F%3A%40%2541"),
        ("pässword\\$(x)`y`", "p%C3%A4ssword%5C%24(x)%60y%60"),
    ] {
        let redis = Redis::start();
        assert_eq!(redis.command(&["config", "set", "requirepass", password]), "OK");
        let url = format!("redis://:{encoded}@127.0.0.1:{}", redis.port);
        // What the library greets a server with ended at a blank: `unbalanced quotes in request`, and no start.
        let node = Node::start(&prefix(), &[("REDIS_URL", &url)]);
        let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
        assert!(ana.keep_connected(), "{password:?}");
        assert_eq!(get(node.admin, "/ready").await.0, 200, "{password:?}");
    }
}
