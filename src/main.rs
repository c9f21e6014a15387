//! `onlycare-signaling`: one node of the cluster.

use std::error::Error;
use std::process::ExitCode;

use onlycare_signaling::app::App;
use onlycare_signaling::config::{Config, options_table};
use onlycare_signaling::shutdown::Signals;
use onlycare_signaling::telemetry;

const HELP: &str = "onlycare-signaling: call signaling for phones, one node of a cluster

USAGE: onlycare-signaling [OPTION]

Without options it serves, configured by environment variables and .env; with nothing configured it runs alone on
this machine, accepts any token and serves a test page at http://127.0.0.1:3001/.

OPTIONS:
  --check-config    read the configuration, print what is wrong with it, or what it found, and exit
  --print-config    print the configuration as read, secrets hidden, and exit
  --print-options   print every option with its default and meaning (Markdown), and exit
  --print-metrics   print every metric with its labels and meaning (Markdown), and exit
  --version         print the version and exit
  --help            print this and exit";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => serve(),
        ["--help" | "-h"] => print(HELP),
        ["--version" | "-V"] => print(concat!("onlycare-signaling ", env!("CARGO_PKG_VERSION"))),
        ["--print-options"] => print(options_table().trim_end()),
        ["--print-metrics"] => print(telemetry::metrics::metrics_table().trim_end()),
        ["--check-config"] => match Config::from_env() {
            Ok(config) => print(&checked(&config)),
            Err(error) => fail(&error),
        },
        ["--print-config"] => match Config::from_env() {
            Ok(config) => {
                let lines: Vec<String> = config.shown.iter().map(|(name, value)| format!("{name}={value}")).collect();
                print(&lines.join("\n"))
            }
            Err(error) => fail(&error),
        },
        other => {
            eprintln!("onlycare-signaling: unknown arguments {other:?}, see --help");
            ExitCode::from(2)
        }
    }
}

/// What a usable configuration says.
fn checked(config: &Config) -> String {
    let mut lines = vec!["configuration is usable".to_owned()];
    lines.extend(config.summary().iter().map(|(name, found)| format!("  {name:<8} {found}")));
    lines.extend(config.warnings().iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

fn print(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

/// An error with its causes.
fn fail(error: &dyn Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    eprintln!("onlycare-signaling: {text}");
    ExitCode::FAILURE
}

fn serve() -> ExitCode {
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    telemetry::log::start(config.log_format, &config.log_level, &config.node_id, config.log_users.clone());
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    // fred and reqwest share one provider; a second start in one process is no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let workers = workers(config.worker_threads);
    match tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(config)),
        Err(error) => fail(&error),
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
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let app = tokio::select! {
        started = App::start(config) => match started {
            Ok(app) => app,
            Err(error) => return fail(&error),
        },
        () = signals.next() => return ExitCode::SUCCESS,
    };
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
