//! The line between one node and Redis, which can be cut or slowed down.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

const CHUNK: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Open,
    /// Connections break, new ones are closed at once.
    Cut,
    /// Replies take so much longer.
    Slow(Duration),
}

/// A TCP proxy on loopback; ends with everything it carries when it is dropped.
pub struct Link {
    pub address: SocketAddr,
    mood: watch::Sender<Mood>,
    _tasks: JoinSet<()>,
}

impl Link {
    pub async fn before(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mood = watch::Sender::new(Mood::Open);
        let watching = mood.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while carried.try_join_next().is_some() {}
                if *watching.borrow() != Mood::Cut {
                    carried.spawn(carry(client, target, watching.clone()));
                }
            }
        });
        Ok(Self { address, mood, _tasks: tasks })
    }

    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

async fn carry(client: TcpStream, target: SocketAddr, mut mood: watch::Receiver<Mood>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let slowly = mood.clone();
    let cut = async { drop(mood.wait_for(|mood| *mood == Mood::Cut).await) };
    tokio::select! {
        () = copy(from_client, to_server) => {}
        () = copy_late(from_server, to_client, slowly) => {}
        () = cut => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Copies in order; each piece as late as the mood was when it came.
async fn copy_late(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mood: watch::Receiver<Mood>) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let late = match *mood.borrow() {
                Mood::Slow(late) => late,
                Mood::Open | Mood::Cut => Duration::ZERO,
            };
            if sender.send((Instant::now() + late, buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
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
}
