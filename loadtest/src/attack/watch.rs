//! What the attacked node holds, looked at while it is attacked, and whether its admin port answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::http::Connection;
use crate::procfs;

const LOOK: Duration = Duration::from_millis(200);
/// Probes of a load balancer are this patient.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub files: u64,
    pub memory: u64,
}

pub fn held(pid: u32) -> Held {
    Held { files: procfs::files(pid).unwrap_or_default(), memory: procfs::memory(pid).unwrap_or_default() }
}

/// Looks at a node until it is dropped; tells the most that it held.
pub async fn most(pid: u32, lasts: Duration) -> Held {
    let (mut most, until) = (Held::default(), Instant::now() + lasts);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < until {
        look.tick().await;
        let now = held(pid);
        most = Held { files: most.files.max(now.files), memory: most.memory.max(now.memory) };
    }
    most
}

/// Asks the probes once a second, each time over a connection of its own.
pub async fn admin(address: SocketAddr, lasts: Duration) -> BTreeMap<String, f64> {
    let (mut asked, mut failed, until) = (0u32, 0u32, Instant::now() + lasts);
    let mut second = interval(Duration::from_secs(1));
    while Instant::now() < until {
        second.tick().await;
        for path in ["/live", "/ready"] {
            let answer = async {
                let stream = TcpStream::connect(address).await?;
                Connection::new(stream, address.to_string()).ask(path, None).await
            };
            asked += 1;
            let is_well = matches!(timeout(PATIENCE, answer).await, Ok(Ok(answer)) if answer.status == 200);
            failed += u32::from(!is_well);
        }
    }
    BTreeMap::from([("admin_asked".into(), f64::from(asked)), ("admin_failed".into(), f64::from(failed))])
}
