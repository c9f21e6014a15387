//! Whether users who seem to have gone stay away: all who left lately are asked for together, in few commands and on no
//! call's connection.

use std::sync::Arc;
use std::time::Duration;

use super::{DAMPING, Presence};
use crate::call::UserId;
use crate::store::StoreError;

/// Who leaves within this time is asked for together.
const TOGETHER: Duration = Duration::from_millis(250);

impl Presence {
    /// Tells the subscribers here who stays away, and, after messages may have been lost, who is there or not.
    pub async fn keep_telling(self: Arc<Self>) {
        loop {
            tokio::select! {
                (left, by) = self.subscriptions.who_left(&self.node.clock) => self.look_for(&left, by).await,
                () = self.subscriptions.doubted() => {
                    if self.compare().await.is_err() {
                        // The store often fails when messages were lost.
                        self.subscriptions.doubt();
                        tokio::time::sleep(DAMPING).await;
                    }
                }
            }
            tokio::time::sleep(TOGETHER).await;
        }
    }

    /// Tells of those who stay away. While the store can't say, or gets its sessions back, they may.
    async fn look_for(&self, left: &[UserId], by: Duration) {
        let answers = match self.identity.may_judge().await {
            true => self.directory.who_is_online(left).await.ok(),
            false => None,
        };
        let Some(answers) = answers else { return self.subscriptions.left(left, self.node.clock.uptime()) };
        for (user, online) in answers {
            self.tell(&self.subscriptions.looked_for(&user, by, online), &user, false);
        }
    }

    /// Compares what subscribers were told with the store. Who seems to have gone is given the time to come back.
    async fn compare(&self) -> Result<(), StoreError> {
        let answers = self.directory.who_is_online(&self.subscriptions.all()).await?;
        let now = self.node.clock.uptime();
        let (there, mut gone): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, online)| *online);
        for (user, _) in there {
            self.tell(&self.subscriptions.came(&user, now), &user, true);
        }
        gone.retain(|(user, _)| !self.subscriptions.know_gone(user));
        self.subscriptions.left(gone.iter().map(|(user, _)| user), now);
        Ok(())
    }
}
