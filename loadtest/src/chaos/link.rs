//! The line between one node and Redis, which can be cut or slowed down, or lose replies.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

const CHUNK: usize = 64 * 1024;
/// From one lost reply to the next.
const LOSES_EVERY: Duration = Duration::from_millis(250);
/// Redis has carried out by then what it was sent.
const CARRIED_OUT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Open,
    /// Connections break, new ones are closed at once.
    Cut,
    /// Replies take so much longer.
    Slow(Duration),
    /// Some scripts are carried out and not answered: the connection breaks instead. Those of which the fewest replies
    /// were lost come first, so that all have their turn.
    Forgetful,
}

/// How many replies of each script were lost.
#[derive(Clone, Default)]
struct Losses(Arc<Mutex<Lost>>);

#[derive(Default)]
struct Lost {
    by_script: HashMap<String, u32>,
    last: Option<Instant>,
}

impl Losses {
    /// Whether the reply to what is sent here is to be lost.
    fn strike(&self, sent: &[u8], now: Instant) -> bool {
        let scripts = scripts(sent);
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for script in &scripts {
            lost.by_script.entry(script.clone()).or_default();
        }
        let fewest = lost.by_script.values().copied().min().unwrap_or(0);
        let is_time = lost.last.is_none_or(|last| now.duration_since(last) >= LOSES_EVERY);
        // A script that runs rarely is worth the wait, but not for ever.
        let slack = lost.last.map_or(0, |last| (now.duration_since(last).as_millis() / 1000) as u32);
        let Some(script) = scripts.into_iter().find(|script| lost.by_script[script] <= fewest + slack) else {
            return false;
        };
        if is_time {
            *lost.by_script.entry(script).or_default() += 1;
            lost.last = Some(now);
        }
        is_time
    }
}

/// The scripts that are called by their hashes in what is sent to Redis.
fn scripts(sent: &[u8]) -> Vec<String> {
    const CALL: &[u8] = b"EVALSHA\r\n$40\r\n";
    let begins = sent.windows(CALL.len()).enumerate().filter(|(_, bytes)| bytes.eq_ignore_ascii_case(CALL));
    let hashes = begins.filter_map(|(at, _)| sent.get(at + CALL.len()..at + CALL.len() + 40));
    hashes.map(|hash| String::from_utf8_lossy(hash).into_owned()).collect()
}

/// A TCP proxy on loopback; ends with everything it carries when it is dropped.
pub struct Link {
    pub address: SocketAddr,
    mood: watch::Sender<Mood>,
    losses: Losses,
    _tasks: JoinSet<()>,
}

impl Link {
    pub async fn before(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mood = watch::Sender::new(Mood::Open);
        let watching = mood.subscribe();
        let losses = Losses::default();
        let counting = losses.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while carried.try_join_next().is_some() {}
                if *watching.borrow() != Mood::Cut {
                    carried.spawn(carry(client, target, watching.clone(), counting.clone()));
                }
            }
        });
        Ok(Self { address, mood, losses, _tasks: tasks })
    }

    /// How many replies were lost, of how many different scripts.
    pub fn lost(&self) -> (u32, usize) {
        let lost = self.losses.0.lock().unwrap_or_else(PoisonError::into_inner);
        (lost.by_script.values().sum(), lost.by_script.values().filter(|count| **count > 0).count())
    }

    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

async fn carry(client: TcpStream, target: SocketAddr, mut mood: watch::Receiver<Mood>, losses: Losses) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (slowly, forgetting) = (mood.clone(), mood.clone());
    let is_mute = AtomicBool::new(false);
    let cut = async { drop(mood.wait_for(|mood| *mood == Mood::Cut).await) };
    tokio::select! {
        () = ask(from_client, to_server, forgetting, losses, &is_mute) => {}
        () = copy_late(from_server, to_client, slowly, &is_mute) => {}
        () = cut => {}
    }
}

/// Copies until a script is sent whose reply is to be lost, waits until it is carried out, and ends.
async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mood: watch::Receiver<Mood>,
    losses: Losses,
    is_mute: &AtomicBool,
) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let forgets = *mood.borrow() == Mood::Forgetful && losses.strike(&buffer[..read], Instant::now());
        if forgets {
            is_mute.store(true, Ordering::Relaxed);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        if forgets {
            tokio::time::sleep(CARRIED_OUT).await;
            return;
        }
    }
}

#[cfg(test)]
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Copies in order; each piece as late as the mood was when it came.
async fn copy_late(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mood: watch::Receiver<Mood>, is_mute: &AtomicBool) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let late = match *mood.borrow() {
                Mood::Slow(late) => late,
                Mood::Open | Mood::Cut | Mood::Forgetful => Duration::ZERO,
            };
            if sender.send((Instant::now() + late, buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if is_mute.load(Ordering::Relaxed) {
                continue;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it is sent.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (from, to) = stream.into_split();
                tokio::spawn(copy(from, to));
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream) -> Option<Duration> {
        let asked = Instant::now();
        stream.write_all(b"x").await.ok()?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await.ok()?;
        Some(asked.elapsed())
    }

    #[tokio::test]
    async fn a_link_is_slow_or_cut_as_it_is_told() {
        let link = Link::before(echo().await).await.expect("a link");
        let mut stream = TcpStream::connect(link.address).await.expect("it listens");
        assert!(ask(&mut stream).await.is_some());
        link.set(Mood::Slow(Duration::from_millis(150)));
        assert!(ask(&mut stream).await.expect("an answer") >= Duration::from_millis(150));
        link.set(Mood::Cut);
        assert_eq!(ask(&mut stream).await, None);
        let mut refused = TcpStream::connect(link.address).await.expect("it listens");
        assert_eq!(ask(&mut refused).await, None);
        link.set(Mood::Open);
        let mut again = TcpStream::connect(link.address).await.expect("it listens");
        assert!(ask(&mut again).await.is_some());
    }

    #[tokio::test]
    async fn replies_of_scripts_are_lost_and_nothing_else() {
        let link = Link::before(echo().await).await.expect("a link");
        link.set(Mood::Forgetful);
        let mut stream = TcpStream::connect(link.address).await.expect("it listens");
        assert!(ask(&mut stream).await.is_some());
        let call = format!("*3\r\n$7\r\nEVALSHA\r\n$40\r\n{}\r\n$1\r\n0\r\n", "a".repeat(40));
        stream.write_all(call.as_bytes()).await.expect("it is sent");
        assert_eq!(stream.read(&mut [0; 8]).await.expect("an end"), 0);
        assert_eq!(link.lost(), (1, 1));
    }

    #[test]
    fn the_script_that_lost_least_is_next() {
        let call = |name: &str| format!("$7\r\nevalsha\r\n$40\r\n{}\r\n", name.repeat(40)).into_bytes();
        let (losses, begin) = (Losses::default(), Instant::now());
        let at = |millis| begin + Duration::from_millis(millis);
        assert!(losses.strike(&call("a"), at(0)));
        assert!(!losses.strike(&call("b"), at(10)), "too soon");
        assert!(!losses.strike(&call("a"), at(300)), "b has lost none yet");
        assert!(losses.strike(&call("b"), at(310)));
        assert!(losses.strike(&call("a"), at(600)));
    }
}
