//! Laravel's word. Its emit requests are transitions of the call, and its word stands where no phone ever spoke.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::delivery::Audience;
use super::retry::Owed;
use super::{Failure, Initiate, Initiated, Node};
use crate::bus::{Body, Word};
use crate::call::{
    Actor, Call, CallId, Command, Device, End, EndReason, Ender, Offer, Push, Refusal, Role, State, UserId, Verb,
    Verdict, VerdictKind,
};
use crate::store::Created;

const ATTEMPTS: u32 = 16;
/// The deployed backend waits 2 s for the answer to a word, in the middle of a request of its own.
const WORD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
const WORD_LIFE: std::time::Duration = std::time::Duration::from_secs(5);

/// What became of Laravel's word.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Obeyed or repeated; whether the user it is for has a live session.
    Emitted(bool),
    Refused {
        refusal: Refusal,
        state: &'static str,
    },
}

pub type WordOutcome = Result<Told, Failure>;

/// What Laravel says became of a call over REST.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendWord {
    /// The callee accepted; `device` where Laravel knows it.
    Accepted { spelled: String, caller: UserId, receiver: UserId, device: Option<Device> },
    /// The caller cancelled.
    Cancelled { spelled: String, receiver: UserId, reason: Option<String> },
    /// The callee rejected.
    Rejected { spelled: String, caller: UserId, receiver: UserId, reason: Option<String> },
    /// It ended, by one party or by nobody in particular.
    Ended { by: Option<UserId>, reason: Option<String> },
}

impl Node {
    /// Laravel rings the receiver in the caller's name, at once; the caller has no session in it. The same call once more
    /// is answered like the first time, a busy one too.
    pub(super) async fn word_initiated(
        self: &Arc<Self>,
        caller: &UserId,
        request: Initiate,
    ) -> Result<Initiated, Failure> {
        let (receiver, call_type) = (request.receiver.clone(), request.call_type.clone());
        match self.initiate(&Actor::over_http(caller, None), request).await {
            Ok(answer) => {
                if let Initiated::Settled(call) = &answer {
                    self.tell_settled(call).await;
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

    /// A call that only Laravel knows of, before its outcome.
    pub(super) fn call_by_word(&self, id: &CallId, spelled: &str, caller: &UserId, receiver: &UserId) -> Call {
        let request = Initiate {
            id: id.clone(),
            spelled: spelled.to_owned(),
            receiver: receiver.clone(),
            call_type: None,
            offer: Offer::default(),
            ring_timeout: None,
            named: true,
        };
        self.new_call(&Actor::over_http(caller, None), request)
    }

    /// Obeys a word of Laravel, which is not kept waiting: while the store fails or stands still, or is not put back after
    /// a loss, it is told that the word is obeyed later. It waits here in its turn; whoever was answered nothing at all has
    /// not lost it either.
    pub(super) async fn word(self: Arc<Self>, id: &CallId, word: BackendWord, tell: oneshot::Sender<WordOutcome>) {
        if self.retries.holds(id) {
            self.owe(id, Owed::Word(word));
            drop(tell.send(Err(Failure::Unavailable)));
            return;
        }
        let mut obeyed = pin!(self.obey(id, &word));
        let told = match tokio::time::timeout(WORD_PATIENCE, &mut obeyed).await {
            Ok(told) => {
                if let Err(Failure::Unavailable) = &told {
                    self.owe(id, Owed::Word(word.clone()));
                }
                told
            }
            Err(_) => {
                let turn = self.takes_its_turn(id, Owed::Word(word.clone()));
                drop(tell.send(Err(Failure::Unavailable)));
                if !matches!(obeyed.await, Err(Failure::Unavailable)) {
                    turn.finish();
                }
                return;
            }
        };
        drop(tell.send(told));
    }

    pub(super) async fn obey(self: &Arc<Self>, id: &CallId, word: &BackendWord) -> WordOutcome {
        match word.clone() {
            BackendWord::Accepted { spelled, caller, receiver, device } => {
                self.word_accepted(id, &spelled, &caller, &receiver, device).await
            }
            BackendWord::Cancelled { spelled, receiver, reason } => {
                self.word_cancelled(id, &spelled, &receiver, reason).await
            }
            BackendWord::Rejected { spelled, caller, receiver, reason } => {
                self.word_rejected(id, &spelled, &caller, &receiver, reason).await
            }
            BackendWord::Ended { by, reason } => self.word_ended(id, by.as_ref(), reason).await,
        }
    }

    /// A call that the store does not have: not known, unless another node may still be about to put it back.
    async fn is_known_to_be_unknown(self: &Arc<Self>) -> Result<(), Failure> {
        if self.may_have_lost().await { Err(Failure::Unavailable) } else { Ok(()) }
    }

    /// The callee accepted over REST. A call never initiated here becomes active.
    async fn word_accepted(
        self: &Arc<Self>,
        id: &CallId,
        spelled: &str,
        caller: &UserId,
        receiver: &UserId,
        device: Option<Device>,
    ) -> WordOutcome {
        let by = Actor::over_http(receiver, device);
        let accept = Command::Accept { by: by.clone() };
        let id = &self.clear_id(id, caller, receiver).await?;
        for _ in 0..ATTEMPTS {
            match self.transition(id, &accept).await {
                Err(Failure::NotFound) => self.is_known_to_be_unknown().await?,
                judged => return self.told(judged, caller).await,
            }
            let mut call = self.call_by_word(id, spelled, caller, receiver);
            let now = self.node.now();
            call.offer = None;
            call.push = Push::Unwanted;
            call.inquiry = None;
            call.callee.device = by.device.clone();
            call.state =
                State::Active { accepted_at: now, until: Some(now + self.node.policy.call_max), doubtful: false };
            // Laravel has it ongoing: whatever a phone said of it earlier is settled there.
            match self.create_settled(&call).await? {
                Created::Created(call) => {
                    self.tell(&call, Audience { caller: true, callee: false }).await;
                    return Ok(Told::Emitted(self.directory.seems_online(caller).await));
                }
                Created::Busy { caller: on_caller, callee: on_callee } => {
                    for (line, user) in [(on_caller, caller), (on_callee, receiver)] {
                        let Some(line) = line else { continue };
                        let by = line.role_of(user).unwrap_or(Role::Caller);
                        self.displace(&line, Command::Preempt { by }).await?;
                    }
                }
                // Laravel has this one ongoing, but what holds the line is not ours to end: said again later.
                Created::Taken => return Err(Failure::Unavailable),
                Created::Exists(_) | Created::Verdicts(_) | Created::TooManyRings { .. } => {}
            }
        }
        Err(Failure::Unavailable)
    }

    /// The caller cancelled over REST.
    async fn word_cancelled(
        self: &Arc<Self>,
        id: &CallId,
        spelled: &str,
        receiver: &UserId,
        reason: Option<String>,
    ) -> WordOutcome {
        let mut id = id.clone();
        let caller = match self.watched_or_stored(&id).await? {
            Some(call) if call.callee.user == *receiver => call.caller.user,
            Some(call) => match self.doubled(&id, receiver).await? {
                Some(own) if own.callee.user == *receiver => {
                    id = own.id;
                    own.caller.user
                }
                Some(_) | None => {
                    return Ok(Told::Refused { refusal: Refusal::NotAParticipant, state: call.state.name() });
                }
            },
            None => {
                self.is_known_to_be_unknown().await?;
                let verdict = Verdict {
                    user: receiver.clone(),
                    device: Device::Unknown,
                    kind: VerdictKind::Cancel,
                    trusted: true,
                    reason: reason.clone(),
                    at: self.node.now(),
                    token: None,
                };
                match self.store.keep_verdict(&id, &verdict, self.node.now()).await? {
                    Some(call) => call.caller.user,
                    None => {
                        let reason = reason.unwrap_or_else(|| "Caller ended call".into());
                        let word = Word::Cancelled { call_id: spelled.to_owned(), reason };
                        return self.spread(receiver, word).await;
                    }
                }
            }
        };
        let cancel = Command::Cancel { by: Actor::over_http(&caller, None), reason };
        let judged = self.transition(&id, &cancel).await;
        let known = match &judged {
            Ok(call) => Some(call),
            Err(Failure::Refused { call, .. }) => Some(&**call),
            Err(Failure::NotFound | Failure::TooManyRings { .. } | Failure::Unavailable) => None,
        };
        let waits = |end: &End| end.reason == EndReason::Cancelled && !end.reported;
        if self.node.policy.callbacks && known.and_then(Call::end).is_some_and(waits) {
            // The app's own request was there first: Laravel need not be told. Failed: it is told once more.
            drop(self.transition(&id, &Command::Report).await);
        }
        self.told(judged, receiver).await
    }

    /// The callee rejected over REST.
    async fn word_rejected(
        self: &Arc<Self>,
        id: &CallId,
        spelled: &str,
        caller: &UserId,
        receiver: &UserId,
        reason: Option<String>,
    ) -> WordOutcome {
        let reject = Command::Reject { by: Actor::over_http(receiver, None), reason: reason.clone() };
        let id = &self.clear_id(id, caller, receiver).await?;
        match self.transition(id, &reject).await {
            Err(Failure::NotFound) => self.is_known_to_be_unknown().await?,
            judged => return self.told(judged, caller).await,
        }
        let by = Ender { role: Role::Callee, device: Device::Unknown, verb: Verb::Reject };
        let call = self.call_by_word(id, spelled, caller, receiver);
        let call = call.ended(EndReason::Rejected, Some(by), reason.clone(), self.node.now());
        if let Created::Exists(_) = self.create_settled(&call).await? {
            let judged = self.transition(id, &reject).await;
            return self.told(judged, caller).await;
        }
        let reason = reason.unwrap_or_else(|| "User declined".into());
        self.spread(caller, Word::Rejected { call_id: spelled.to_owned(), reason }).await
    }

    /// A call ended over REST, in a party's name or in nobody's.
    async fn word_ended(
        self: &Arc<Self>,
        id: &CallId,
        ended_by: Option<&UserId>,
        reason: Option<String>,
    ) -> WordOutcome {
        let Some(mut call) = self.watched_or_stored(id).await? else {
            self.is_known_to_be_unknown().await?;
            return Err(Failure::NotFound);
        };
        if let Some(user) = ended_by.filter(|user| call.role_of(user).is_none())
            && let Some(own) = self.doubled(id, user).await?
        {
            call = own;
        }
        let (command, peer) = match ended_by {
            Some(user) => {
                let peer = if *user == call.caller.user { &call.callee.user } else { &call.caller.user };
                (Command::End { by: Actor::over_http(user, None), reason }, peer.clone())
            }
            None => (Command::Dismiss { reason }, call.caller.user.clone()),
        };
        let judged = self.transition(&call.id, &command).await;
        let both = ended_by.is_none() && judged.is_ok() && self.directory.seems_online(&call.callee.user).await;
        match self.told(judged, &peer).await? {
            Told::Emitted(one) => Ok(Told::Emitted(one || both)),
            refused @ Told::Refused { .. } => Ok(refused),
        }
    }

    async fn told(self: &Arc<Self>, judged: Result<Call, Failure>, user: &UserId) -> WordOutcome {
        match judged {
            Ok(_) => Ok(Told::Emitted(self.directory.seems_online(user).await)),
            Err(Failure::Refused { refusal, call }) => Ok(Told::Refused { refusal, state: call.state.name() }),
            Err(failure @ (Failure::NotFound | Failure::TooManyRings { .. } | Failure::Unavailable)) => Err(failure),
        }
    }

    pub(super) async fn watched_or_stored(self: &Arc<Self>, id: &CallId) -> Result<Option<Call>, Failure> {
        if let Some(call) = self.cache.last_seen(id) {
            return Ok(Some(Call::clone(&call)));
        }
        self.all_put_back().await?;
        Ok(self.store.load(id).await?)
    }

    /// Says a word to all sessions of a user, wherever they are.
    pub(super) async fn spread(self: &Arc<Self>, user: &UserId, word: Word) -> WordOutcome {
        let sessions = self.directory.sessions_of(user).await?;
        for session in self.local.of(user) {
            session.voice().word(&word, self.node.now());
        }
        let nodes: std::collections::HashSet<_> = sessions.iter().map(|session| session.node.clone()).collect();
        for node in nodes.into_iter().filter(|node| *node != self.node.id) {
            let body = Body::Word { user: user.clone(), word: word.clone() };
            self.messenger.post(node, self.node.now() + WORD_LIFE, body).await;
        }
        Ok(Told::Emitted(!sessions.is_empty()))
    }
}
