//! What the client of a polling session says: it is read no faster than the frames of a websocket are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;

/// Bodies of one session at the same time. A client sends one after the other, and may have given some up that are still here.
/// With 256 packets in each, none waits for three seconds.
const AT_ONCE: usize = 4;

/// The bodies of one session.
#[derive(Default)]
pub struct Posts {
    pace: Mutex<Pace>,
    under_way: AtomicUsize,
}

/// A body that is under way, until it is dropped.
pub struct Post(Arc<Posts>);

impl Posts {
    /// A body has come; absent where too many of the session are under way.
    pub fn begin(self: &Arc<Self>) -> Option<Arc<Post>> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let post = Post(Arc::clone(self));
        (before < AT_ONCE).then(|| Arc::new(post))
    }
}

impl Post {
    /// Resolves when it may be read, since what the session said before is paid for.
    pub async fn turn(&self) {
        while let Some(due) = self.due() {
            sleep_until(due).await;
        }
        self.read(1);
    }

    fn due(&self) -> Option<Instant> {
        self.0.pace.lock().next(Instant::now())
    }

    /// So many packets of it were read, besides the first.
    pub fn read(&self, packets: usize) {
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.0.pace.lock().read(packets, 0, Instant::now());
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_few_bodies_under_way_which_it_pays_for_together() {
        let posts = Arc::new(Posts::default());
        let mut held: Vec<_> = (0..10).filter_map(|_| posts.begin()).collect();
        assert_eq!(held.len(), AT_ONCE);
        held.pop();
        held.push(posts.begin().unwrap());
        assert!(held[1].due().is_none());
        held[0].read(1000);
        assert!(held[1].due().is_some());
        drop(held);
        assert_eq!(posts.under_way.load(Ordering::Relaxed), 0);
    }
}
