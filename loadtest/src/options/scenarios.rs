//! Options of the runs that hold sessions, saturate nodes and watch presence.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Target, count, duration, mix, phones, rate, rate_or_none, variable};
use crate::dial::Transport;

#[derive(Args, Debug)]
pub struct Idle {
    /// Sessions to hold.
    #[arg(long, default_value_t = 5000, value_parser = count)]
    pub phones: usize,
    /// Connects a second, of all processes together.
    #[arg(long, default_value_t = 400.0, value_parser = rate)]
    pub rate: f64,
    /// `polling` opens by long polling and upgrades, as the Android app does.
    #[arg(long, value_enum, default_value = "websocket")]
    pub transport: Transport,
    /// How long all sessions are held; a multiple of the ping interval (15s) is exact.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub hold: Duration,
    /// Calls a second between further phones, before the sessions come and while they are held; 0 for none.
    #[arg(long, default_value_t = 0.0, value_parser = rate_or_none)]
    pub calls_rate: f64,
    /// How long phones call each other before the sessions come.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub before: Duration,
    /// Phones that one process holds [default: what its limit of open files allows, 20,000 at most].
    #[arg(long, value_parser = count)]
    pub per_process: Option<usize>,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Args, Debug)]
pub struct Bystanders {
    #[arg(long, value_delimiter = ',')]
    pub nodes: Vec<SocketAddr>,
    /// In every user's id.
    #[arg(long)]
    pub run: u32,
    /// The first phone.
    #[arg(long)]
    pub from: usize,
    #[arg(long, value_parser = count)]
    pub phones: usize,
    #[arg(long, value_parser = rate)]
    pub rate: f64,
    #[arg(long, value_enum)]
    pub transport: Transport,
}

#[derive(Args, Debug)]
pub struct Max {
    /// Pairs of phones that call again as soon as their call is over, one run for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256", value_parser = count)]
    pub pairs: Vec<usize>,
    /// How long each run lasts.
    #[arg(long, default_value = "20s", value_parser = duration)]
    pub duration: Duration,
    /// Per cent of calls that are accepted, rejected, cancelled.
    #[arg(long, default_value = "70,20,10", value_parser = mix)]
    pub mix: [u32; 3],
    #[command(flatten)]
    pub target: Target,
}

#[derive(Args, Debug)]
pub struct Presence {
    /// Phones that watch others.
    #[arg(long, default_value_t = 500, value_parser = count)]
    pub watchers: usize,
    /// Users that each of them watches; a session may watch 500.
    #[arg(long, default_value_t = 50, value_parser = watched)]
    pub watched: usize,
    /// Users who come and go; half of them are there at the beginning.
    #[arg(long, default_value_t = 500, value_parser = count)]
    pub phones: usize,
    /// How many of them come or go a second, by Poisson arrivals. Whoever goes stays away until it is told, 3s at least.
    #[arg(long, default_value_t = 20.0, value_parser = rate)]
    pub changes: f64,
    /// How long changes arrive.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub duration: Duration,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Args, Debug)]
pub struct Evening {
    /// Phones, each another user's: they come in the first third of the evening and leave in its last sixth.
    #[arg(long, default_value_t = 3000, value_parser = phones)]
    pub users: usize,
    /// Calls a second in the middle of the evening; they rise to it from none and fall to none again.
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    pub peak: f64,
    /// How long calls arrive. Those under way at the end go on to theirs.
    #[arg(long, default_value = "6m", value_parser = duration)]
    pub duration: Duration,
    /// Talks last 3 minutes on average, 15 at most, divided by this. Phones ring for 2 to 20 s all the same.
    #[arg(long, default_value_t = 30.0, value_parser = rate)]
    pub compress: f64,
    /// Phones a minute that lose their connection and come back, in a call or not.
    #[arg(long, default_value_t = 60.0, value_parser = rate_or_none)]
    pub reconnects: f64,
    /// Nodes to start; one of them is killed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..))]
    pub nodes: u8,
    #[arg(long, value_enum, default_value = "polling")]
    pub transport: Transport,
    /// The node's binary [default: onlycare-signaling next to this program].
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// A further variable for the nodes, as NAME=value; may be repeated.
    #[arg(long, value_parser = variable)]
    pub node_env: Vec<(String, String)>,
    /// Write all figures, settings and versions to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

fn watched(text: &str) -> Result<usize, String> {
    count(text).ok().filter(|count| *count <= 500).ok_or_else(|| "a whole number from 1 to 500".into())
}
