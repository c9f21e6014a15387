//! An unmodified backend is asked before a ring is given up, before somebody is told busy because of an old call, about a
//! call both of whose phones are away, and about one that no node knows after a loss.

use std::sync::Arc;
use std::time::Duration;

use super::Questions;
use super::questions::decided_elsewhere;
use crate::call::{Actor, Call, Command, SealedToken, State};
use crate::signaling::commands::Commands;
use crate::signaling::node::NodeContext;

/// Below the pause between two inquiries.
const RING_PATIENCE: Duration = Duration::from_secs(4);
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// A ring this young is believed, and an accepted call.
const RING_BELIEVED: Duration = Duration::from_secs(3);
const BELIEVED: Duration = Duration::from_secs(10);
/// About a doubtful call, where the backend does not answer.
const QUESTIONS: u32 = 3;
const QUESTION_PATIENCE: Duration = Duration::from_secs(4);
const QUESTION_PAUSE: Duration = Duration::from_secs(5);

/// Asks the backend about calls that are here, and does what it says.
pub struct Inquiries {
    pub node: Arc<NodeContext>,
    pub questions: Arc<Questions>,
    pub commands: Arc<Commands>,
}

impl Inquiries {
    /// Asks whether a ring that is about to time out was answered elsewhere: one lost word must not cut a call that is
    /// paid for. The next question is stored already, so that nothing rests on this node.
    pub fn ask_before_deadline(self: &Arc<Self>, call: Call) {
        let inquiries = Arc::clone(self);
        self.node.spawn(async move {
            let tokens = [&call.caller.tokens[..], &call.callee.tokens].concat();
            let asked = inquiries.questions.ask(&call.known_id(), &tokens, RING_PATIENCE).await;
            // Unavailable: asked again, by whoever fires the stored deadline.
            let Some(decided) = decided_elsewhere(&call, &asked) else { return };
            // Refused: something came in meanwhile. Failed: the stored question is asked.
            drop(inquiries.commands.apply(&call.id, &decided.unwrap_or(Command::KeepDeadline)).await);
        });
    }

    /// Asks whether an accepted call goes on both of whose phones are away, neither with `acks`: two lost sockets are not
    /// two dead phones. The next question is stored already.
    pub fn ask_about_absent(self: &Arc<Self>, call: Call) {
        if !self.questions.can_ask() {
            return;
        }
        let inquiries = Arc::clone(self);
        self.node.spawn(async move {
            // Nobody's turn within a minute: asked again by then.
            let Some(_turn) = inquiries.questions.turn_for_absent().await else { return };
            let tokens = [&call.caller.tokens[..], &call.callee.tokens].concat();
            let asked = inquiries.questions.ask(&call.known_id(), &tokens, RING_PATIENCE).await;
            let Some(Some(command)) = decided_elsewhere(&call, &asked) else { return };
            // Refused: it ended meanwhile. Failed: asked again in a minute.
            drop(inquiries.commands.apply(&call.id, &command).await);
        });
    }

    /// Whether a call that makes somebody busy is over by the backend's table; then it ends here too. A ring that was
    /// answered there is active from now on.
    pub async fn is_over_elsewhere(self: &Arc<Self>, line: &Call, dialer: &Actor) -> bool {
        let (since, believed) = match line.state {
            State::Trying | State::Ringing => (line.created_at, RING_BELIEVED),
            State::Active { accepted_at, .. } => (accepted_at, BELIEVED),
            State::Ended(_) => return false,
        };
        if !self.questions.can_ask() || self.node.now().since(since) < believed {
            return false;
        }
        let by_party = line.role_of(&dialer.user).is_some();
        if !self.questions.take_busy(&line.id, by_party, self.node.clock.uptime()) {
            return false;
        }
        let dialer = dialer.token.iter().filter(|_| by_party).cloned();
        let tokens: Vec<SealedToken> =
            line.caller.tokens.iter().chain(&line.callee.tokens).cloned().chain(dialer).collect();
        let asked = self.questions.ask(&line.known_id(), &tokens, BUSY_PATIENCE).await;
        let Some(Some(command)) = decided_elsewhere(line, &asked) else { return false };
        let is_accept = matches!(command, Command::Accept { .. });
        self.commands.displace(line, command).await.is_ok() && !is_accept
    }

    /// Ends a doubtful call whose row at an unmodified backend is final. Without an answer it stays as it is, and is
    /// asked about again by whoever finds it on his line.
    pub async fn ask_about_doubtful(&self, call: &Call) {
        if !self.questions.can_ask() {
            return;
        }
        let tokens: Vec<SealedToken> = call.caller.tokens.iter().chain(&call.callee.tokens).cloned().collect();
        for _ in 0..QUESTIONS {
            let asked = self.questions.ask(&call.known_id(), &tokens, QUESTION_PATIENCE).await;
            if let Some(decided) = decided_elsewhere(call, &asked) {
                if let Some(command) = decided {
                    drop(self.commands.apply(&call.id, &command).await);
                }
                return;
            }
            tokio::time::sleep(QUESTION_PAUSE).await;
        }
    }
}
