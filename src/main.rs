//! `onlycare-signaling`: one node of the cluster.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use onlycare_signaling::app::App;
use onlycare_signaling::call::NodeId;
use onlycare_signaling::config::{Config, ConfigError, Standing, options_table};
use onlycare_signaling::dispatcher::causes;
use onlycare_signaling::http::ask_about;
use onlycare_signaling::shutdown::Signals;
use onlycare_signaling::telemetry::{self, Users};

/// Of each step of a probe.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

const HELP: &str = "onlycare-signaling: call signaling for phones, one node of a cluster

USAGE: onlycare-signaling [--dev] [OPTION]
       onlycare-signaling call ID [ADMIN]

Without options it serves, configured by environment variables and .env; with nothing configured it runs alone on
this machine, accepts any token and serves a test page at http://127.0.0.1:3001/.

`call` asks a running node, with INSPECTOR=on, why the phone of this call did not ring, or what became of it; ADMIN is
the address of its admin port, http://127.0.0.1:9001 by default, with the ADMIN_PORT and HOST of the configuration.

OPTIONS:
  --dev             for trying out, as in a container: binds the public port to all addresses and the admin port to this
                    machine, accepts any token, keeps everything in memory, has no limits that hinder trying; refuses to
                    start beside what production sets. NOT FOR PRODUCTION
  --health          ask the node on this machine (HOST, ADMIN_PORT) whether it lives; exits with 1 where it does not
  --check-config    read the configuration, print what is wrong with it, or what it found, and exit
  --print-config    print the configuration as read, secrets hidden, and exit
  --print-options   print every option with its default and meaning (Markdown), and exit
  --print-metrics   print every metric with its labels and meaning (Markdown), and exit
  --version         print the version and exit
  --help            print this and exit";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dev = arguments.iter().any(|argument| argument == "--dev");
    let others: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| *argument != "--dev").collect();
    match others.as_slice() {
        [] => serve(dev),
        ["--help" | "-h"] => print(HELP),
        ["--version" | "-V"] => print(concat!("onlycare-signaling ", env!("CARGO_PKG_VERSION"))),
        ["--print-options"] => print(options_table().trim_end()),
        ["--print-metrics"] => print(telemetry::metrics::metrics_table().trim_end()),
        ["--health"] => health(),
        ["--check-config"] => match Config::from_env(dev) {
            Ok(config) => match config.misspelled() {
                Some(error) => fail(&error),
                None => print(&checked(&config)),
            },
            Err(error) => fail(&error),
        },
        ["--print-config"] => match Config::from_env(dev) {
            Ok(config) => {
                let lines: Vec<String> = config.shown.iter().map(|(name, value)| format!("{name}={value}")).collect();
                print(&lines.join("\n"))
            }
            Err(error) => fail(&error),
        },
        ["call", id] => match Config::admin_address_from_env() {
            Ok(address) => ask(id, &format!("http://{address}")),
            Err(error) => fail(&error),
        },
        ["call", id, admin] => ask(id, admin),
        other => {
            eprintln!("onlycare-signaling: unknown arguments {other:?}, see --help");
            ExitCode::from(2)
        }
    }
}

/// What a usable configuration says.
fn checked(config: &Config) -> String {
    let mut lines = vec!["configuration is usable".to_owned()];
    lines.extend(config.standing().lines().iter().map(|(name, found)| format!("  {name:<8} {found}")));
    lines.extend(config.warnings().iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

/// What a running node says of a call.
fn ask(id: &str, admin: &str) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(ask_about(admin, id)) {
        Ok(text) => print(text.trim_end()),
        Err(error) => fail(&error),
    }
}

fn print(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

fn fail(error: &dyn Error) -> ExitCode {
    eprintln!("onlycare-signaling: {error}");
    ExitCode::FAILURE
}

/// Why a node that was to serve does not: a line of the log, as all that it says.
fn fatal(error: &dyn Error) -> ExitCode {
    tracing::error!("{}", causes(error));
    ExitCode::FAILURE
}

/// Each of what is wrong is a line of the log, in the format that was asked for as far as that could be read.
fn unusable(error: &ConfigError) -> ExitCode {
    let node = NodeId::parse("unconfigured").unwrap_or_else(|_| unreachable!("the text is valid"));
    telemetry::log::start(error.log_format, "info", &node, Users::Plain, false);
    for wrong in &error.errors {
        tracing::error!("configuration is not usable: {wrong}");
    }
    ExitCode::FAILURE
}

/// For the health check of an image that has no other program.
fn health() -> ExitCode {
    let address = match Config::admin_address_from_env() {
        Ok(address) => address,
        Err(error) => return fail(&error),
    };
    match lives(address) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn lives(address: SocketAddr) -> std::io::Result<bool> {
    let mut node = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    node.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    node.write_all(b"GET /live HTTP/1.0\r\n\r\n")?;
    let mut head = [0; 12];
    node.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}

fn serve(dev: bool) -> ExitCode {
    let config = match Config::from_env(dev) {
        Ok(config) => config,
        Err(error) => return unusable(&error),
    };
    let users = config.log_users.clone();
    telemetry::log::start(config.log_format, &config.log_level, &config.node_id, users, config.is_for_trying_out());
    let Standing { mode, auth, laravel, store, api, queries, listens, limits } = config.standing();
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, mode, auth, laravel, store, api, queries, listens, limits, "starting");
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    // fred and reqwest share one provider; a second start in one process is no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let workers = workers(config.worker_threads);
    match tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(config)),
        Err(error) => fatal(&error),
    }
}

/// On few cores one worker: each event is a handful of steps, and a step that wakes another thread costs more than it
/// takes.
fn workers(told: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match (told, cores) {
        (0, ..=2) => 1,
        (0, cores) => cores,
        (told, _) => told,
    }
}

async fn run(config: Config) -> ExitCode {
    let is_alone = config.redis_url.is_none();
    let has_page = config.is_development();
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fatal(&error),
    };
    let app = tokio::select! {
        started = App::start(config) => match started {
            Ok(app) => app,
            Err(error) => return fatal(&error),
        },
        () = signals.next() => return ExitCode::SUCCESS,
    };
    if has_page {
        let kept = if is_alone { ", and nothing is kept: calls and sessions are in memory" } else { "" };
        tracing::info!("open http://127.0.0.1:{}/ and call from phone to phone{kept}", app.public.port());
    }
    let (asked, broken) = tokio::select! {
        () = signals.next() => (true, false),
        () = app.isolated() => (false, false),
        () = app.failed() => (false, true),
    };
    let farewell = async {
        if !broken {
            app.drain().await;
        }
        tracing::info!("stopping");
        app.stop().await;
    };
    tokio::select! {
        () = farewell => {}
        () = signals.next() => {
            tracing::warn!("asked to stop a second time, stopping at once");
            return ExitCode::FAILURE;
        }
    }
    // A supervisor that restarts on failure brings back whoever was not asked to go.
    if asked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
