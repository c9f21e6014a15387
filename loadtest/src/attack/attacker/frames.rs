//! Frames of websockets, as no client sends them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::sockets::exchange;
use super::{ADDRESSES, Attacker, PAUSE};
use crate::packet::{self, Who};

/// One that is younger when the attack ends says nothing about the node.
const CUT_WITHIN: Duration = Duration::from_secs(5);

pub fn knows(name: &str) -> bool {
    ["half-frames", "half-messages", "pings"].contains(&name)
}

pub async fn attack(name: &str, attacker: &Arc<Attacker>) {
    match name {
        "half-frames" => attacker.half_frames(50, ADDRESSES, 60_000, 10).await,
        "half-messages" => attacker.half_frames(60, 1, 1_100_000, 1_000_000).await,
        "pings" => drop(join_all((0..4).map(|number| attacker.pings(number))).await),
        _ => {}
    }
}

impl Attacker {
    /// Users whose websockets announce a frame of so many bytes and send fewer of it.
    async fn half_frames(&self, count: usize, addresses: usize, announced: u64, sent: usize) {
        let held = (0..count).map(|number| async move {
            let Some(mut socket) = self.open(number % addresses).await else { return };
            let opened = Instant::now();
            let connect = packet::connect(&Who::phone_of(&format!("USR_half_{number}")));
            let _ = self.within(exchange(&mut socket, connect)).await;
            // Final, text; masked, eight bytes of length; the mask.
            let frame = [&[0x81, 0xff][..], &announced.to_be_bytes(), &[0; 4], &vec![b'a'; sent]].concat();
            let stream = socket.get_mut();
            let held = async {
                // The node may end it before it has all that was sent.
                if stream.write_all(&frame).await.is_ok() {
                    let mut buffer = [0; 4096];
                    while let Ok(1..) = stream.read(&mut buffer).await {}
                }
            };
            let is_cut = self.within(held).await.is_some();
            self.ended(opened, is_cut);
        });
        join_all(held).await;
    }

    /// Pings as fast as the node takes them and reads no answer; comes back whenever it is cut.
    async fn pings(&self, number: usize) {
        // Final, ping; masked, 125 bytes; the mask; text.
        let pings = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'a'; 125]].concat().repeat(500);
        while !self.is_over() {
            let Some(mut socket) = self.open(number).await else { continue };
            let opened = Instant::now();
            let stream = socket.get_mut();
            let pinging = async {
                while stream.write_all(&pings).await.is_ok() {
                    self.count("pinged_bytes", pings.len() as f64);
                }
            };
            if self.within(pinging).await.is_some() {
                self.ended(opened, true);
                sleep(PAUSE).await;
            } else if opened.elapsed() > CUT_WITHIN {
                self.ended(opened, false);
            }
        }
    }
}
