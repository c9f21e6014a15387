//! How fast a websocket is read, and what is posted by a client that polls. A phone says a few things a second; of who says thousands no more is read than this, and the
//! rest waits in the network, at whoever says it: refusing each would cost the node more than it costs him.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// What a frame costs: 400 a second go on for ever. The answers to those who say more than they may (`EVENTS_PER_MINUTE`) come
/// at once below it.
const PER_FRAME: Duration = Duration::from_micros(2500);
/// The library answers a ping by itself, and who takes no answer is to be found out soon.
const PER_PING: Duration = Duration::from_micros(150);
/// Frames that are read at once: more than an app has to say that comes back.
const AT_ONCE: u32 = 256;

/// The frames of one websocket, or the packets of one polling session, as time pays for them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When all that was read is paid for.
    paid_at: Option<Instant>,
    /// Only of who says too much.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// So many frames were read, and so many pings.
    pub fn read(&mut self, frames: u32, pings: u32, now: Instant) {
        let from = self.paid_at.map_or(now, |at| at.max(now));
        self.paid_at = Some(from + PER_FRAME * frames + PER_PING * pings);
    }

    /// When more may be read, if not at once.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.paid_at?.checked_sub(PER_FRAME * AT_ONCE).filter(|next| *next > now)
    }

    /// Ready when more may be read.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.next(Instant::now()) else {
            self.pause = None;
            return Poll::Ready(());
        };
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep_until(next)));
        pause.as_mut().reset(next);
        pause.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_at_once_is_read_at_once_and_the_rest_evenly() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut now = began;
        let mut read = |frames: u32, now: &mut Instant| {
            for _ in 0..frames {
                *now = pace.next(*now).unwrap_or(*now);
                pace.read(1, 0, *now);
            }
        };
        read(AT_ONCE, &mut now);
        assert_eq!(now, began);
        read(4000, &mut now);
        assert!((Duration::from_millis(9_990)..=Duration::from_secs(10)).contains(&(now - began)), "{:?}", now - began);
        // Who says nothing for a while is read at once again.
        now += PER_FRAME * AT_ONCE;
        let silent = now;
        read(AT_ONCE, &mut now);
        assert_eq!(now, silent);
    }
}
