//! What is no change of a call and travels as it is: a message between the parties, a command about a call without a
//! record, the application's own events.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::{Body, Word};
use crate::call::UserId;
use crate::signaling::cluster::Messenger;
use crate::signaling::directory::Directory;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::store::{CallStore, StoreError};

const WORD_LIFE: Duration = Duration::from_secs(5);

/// Says words to users.
pub struct Words {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub local: Arc<LocalSessions>,
    pub directory: Arc<Directory>,
    pub messenger: Arc<Messenger>,
}

impl Words {
    /// Says a word to all sessions of a user, wherever they are; false where he has none.
    pub async fn spread(self: &Arc<Self>, user: &UserId, word: Word) -> Result<bool, StoreError> {
        let sessions = self.directory.sessions_of(user).await?;
        self.say_here(user, &word);
        let nodes: HashSet<_> = sessions.iter().map(|session| session.node.clone()).collect();
        for node in nodes.into_iter().filter(|node| *node != self.node.id) {
            let body = Body::Word { user: user.clone(), word: word.clone() };
            self.messenger.post(node, self.node.now() + WORD_LIFE, body).await;
        }
        Ok(!sessions.is_empty())
    }

    /// Says a word to the user's sessions on this node.
    pub fn say_here(self: &Arc<Self>, user: &UserId, word: &Word) {
        if let Word::Message(message) = word {
            self.take_message(user, message);
            return;
        }
        for session in self.local.of(user) {
            session.voice().word(word, self.node.now());
        }
    }
}
