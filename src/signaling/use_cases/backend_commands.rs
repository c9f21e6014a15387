//! Laravel's commands. Its emit requests are transitions of the call, and they count where no phone ever sent one.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::backend_command::{BackendCommand, CommandOutcome};
use super::backend_outcomes::BackendOutcomes;
use super::dialing::Dialing;
use super::initiated::Initiated;
use super::retry_queue::{Owed, RetryQueue};
use crate::call::{Actor, CallId, EndReason, Refusal, UserId};
use crate::signaling::calls::{Failure, Initiate};

/// The deployed backend waits 2 s for the answer to a command, in the middle of a request of its own.
const COMMAND_PATIENCE: Duration = Duration::from_secs(1);

/// Obeys Laravel.
pub struct BackendCommands {
    pub dialing: Arc<Dialing>,
    pub outcomes: Arc<BackendOutcomes>,
    pub queue: Arc<RetryQueue>,
}

impl BackendCommands {
    /// Laravel rings the receiver in the caller's name, at once; the caller has no session in it. The same call once more
    /// is answered like the first time, a busy one too.
    pub async fn initiate(&self, caller: &UserId, request: Initiate) -> Result<Initiated, Failure> {
        let (receiver, call_type) = (request.receiver.clone(), request.call_type.clone());
        match self.dialing.initiate(&Actor::over_http(caller, None), request).await {
            Ok(answer) => {
                if let Initiated::Settled(call) = &answer {
                    self.dialing.tell_settled(call).await;
                }
                Ok(answer)
            }
            Err(Failure::Refused { refusal: Refusal::InvalidState, call })
                if call.end().is_some_and(|end| end.reason == EndReason::Busy)
                    && call.is_dialled_as(&receiver, call_type.as_deref()) =>
            {
                Ok(Initiated::Busy { ringing: None })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Obeys a command of Laravel, which is not kept waiting: while the store fails or stands still, or is not put back
    /// after a loss, it is told that the command is obeyed later. It waits here in its turn; whoever was answered
    /// nothing at all has not lost it either.
    pub async fn obey(&self, id: &CallId, command: BackendCommand, tell: oneshot::Sender<CommandOutcome>) {
        if self.queue.holds(id) {
            self.queue.owe(id, Owed::Backend(command));
            drop(tell.send(Err(Failure::Unavailable)));
            return;
        }
        let mut obeyed = pin!(self.outcomes.obey(id, &command));
        let answer = match tokio::time::timeout(COMMAND_PATIENCE, &mut obeyed).await {
            Ok(answer) => {
                if let Err(Failure::Unavailable) = &answer {
                    self.queue.owe(id, Owed::Backend(command.clone()));
                }
                answer
            }
            Err(_) => {
                let turn = self.queue.takes_its_turn(id, Owed::Backend(command.clone()));
                drop(tell.send(Err(Failure::Unavailable)));
                if !matches!(obeyed.await, Err(Failure::Unavailable)) {
                    turn.finish();
                }
                return;
            }
        };
        drop(tell.send(answer));
    }
}
