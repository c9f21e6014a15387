//! Visitors: users who come for a fault, do nothing but press on the nodes, and leave with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::VISITOR;
use super::fleet::Fleet;
use crate::dial::{self, Line, Transport};
use crate::packet::{self, Packet, Who};
use crate::phone;

/// Visitors who connect at the same time.
const AT_ONCE: usize = 30;
/// Phones that dial in a closed loop, and dials of each that are under way.
const DIALLERS: usize = 4;
const UNDER_WAY: usize = 64;

pub fn visitor(fault: usize, number: usize) -> String {
    format!("{VISITOR}_{fault}_{number}")
}

/// Lets visitors connect and leave, all of them again and again.
pub async fn come_and_go(fleet: &Arc<Fleet>, visitors: &[String], until: Instant) {
    while Instant::now() < until {
        let come = stream::iter(visitors).map(|visitor| async move {
            let (_, address) = fleet.pick()?;
            let who = Who::phone_of(visitor);
            let dialed = dial::dial(address, None, Transport::Websocket, &who);
            tokio::time::timeout(Duration::from_secs(2), dialed).await.ok()?.ok()
        });
        let there: Vec<Option<Line>> = come.buffer_unordered(AT_ONCE).collect().await;
        tokio::time::sleep(Duration::from_millis(300)).await; // whoever watches sees them
        drop(there);
        tokio::time::sleep(Duration::from_millis(300)).await; // and sees them go
    }
}

/// Dials on one node as fast as it goes: one visitor calls another again and again, others find him busy.
pub async fn dial(node: SocketAddr, fault: usize, lasts: Duration) {
    let until = Instant::now() + lasts;
    let target = visitor(fault, 0);
    let Ok(line) = dial::dial(node, None, Transport::Websocket, &Who::phone_of(&target)).await else { return };
    let rung = tokio::spawn(press(line, None, until + Duration::from_secs(1)));
    let diallers = (1..=DIALLERS + 1).map(|number| {
        let (name, target) = (visitor(fault, number), target.clone());
        async move {
            let line = dial::dial(node, None, Transport::Websocket, &Who::phone_of(&name)).await.ok()?;
            let window = if number == 1 { 1 } else { UNDER_WAY };
            Some(press(line, Some((name, target, window)), until).await)
        }
    });
    let counts = futures_util::future::join_all(diallers).await;
    rung.abort();
    let [rang, busy, refused] = counts
        .into_iter()
        .flatten()
        .fold([0; 3], |sum: [u64; 3], count| [sum[0] + count[0], sum[1] + count[1], sum[2] + count[2]]);
    let seconds = lasts.as_secs_f64();
    eprintln!("  dials: {rang} rang, {busy} met a busy user, {refused} were refused, in {seconds:.1} s");
}

/// A phone that dials in a closed loop, or only answers. Returns how many dials rang, met a busy user, were refused.
async fn press(line: Line, dials: Option<(String, String, usize)>, until: Instant) -> [u64; 3] {
    let Line { mut socket, mut ahead, .. } = line;
    let (mut sent, mut answered) = (0u64, [0u64; 3]);
    loop {
        if let Some((name, target, window)) = &dials {
            while sent - answered.iter().sum::<u64>() < *window as u64 && Instant::now() < until {
                sent += 1;
                let payload = json!({
                    "callId": format!("{name}_{sent}"), "receiverId": target, "callType": "AUDIO",
                    "channelName": format!("channel-{sent}"), "agoraToken": "",
                });
                if socket.send(Message::text(packet::event(sent, "call:initiate", &payload))).await.is_err() {
                    return answered;
                }
            }
        }
        let heard = tokio::time::timeout_at(until.into(), phone::next(&mut ahead, &mut socket)).await;
        let Ok(Some(Ok(Message::Text(text)))) = heard else { break };
        let reply = match Packet::parse(&text) {
            Packet::Ping => Some(packet::PONG.to_owned()),
            Packet::Event { ack: Some(id), .. } => Some(packet::acknowledge(id)),
            Packet::Ack { payload, .. } => {
                let is_busy = payload["busy"] == true;
                if !is_busy && payload["success"] != true && answered[2] == 0 {
                    eprintln!("  a dial was refused: {payload}");
                }
                answered[if payload["success"] == true { 0 } else { 1 + usize::from(!is_busy) }] += 1;
                None
            }
            _ => None,
        };
        if let Some(reply) = reply
            && socket.send(Message::text(reply)).await.is_err()
        {
            return answered;
        }
    }
    // The last call that rings is taken back.
    if let Some((name, ..)) = dials {
        let payload = json!({"callId": format!("{name}_{sent}")});
        let _ = socket.send(Message::text(packet::event(sent + 1, "call:cancel", &payload))).await;
        let closed = tokio::time::timeout(Duration::from_secs(1), async {
            while let Some(Ok(Message::Text(text))) = phone::next(&mut ahead, &mut socket).await {
                if matches!(Packet::parse(&text), Packet::Ack { id, .. } if id == sent + 1) {
                    return;
                }
            }
        });
        let _ = closed.await;
    }
    answered
}
