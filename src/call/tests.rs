//! Every cell of the table of states and commands (docs/semantics.md 1), and properties over random command orders.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

mod absence_tests;
mod semantics_tests;
mod switching_tests;
mod why_tests;

const T0: u64 = 1_800_000_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(T0 + seconds * 1000)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn named(device: &str) -> Device {
    Device::Named(device.into())
}

fn actor(name: &str, device: Device) -> Actor {
    Actor { user: user(name), device, acks: true, session: Some(SessionId::from_random(7)), token: None }
}

fn ana() -> Actor {
    actor("ana", named("a1"))
}

fn initiate(by: Actor) -> Command {
    Command::Initiate { by, receiver: user("bo"), call_type: Some("AUDIO".into()), ring_details: None, nonce: 0 }
}

fn bo() -> Actor {
    actor("bo", named("b1"))
}

fn over_http(name: &str) -> Actor {
    Actor { user: user(name), device: Device::Unknown, acks: false, session: None, token: None }
}

fn trying() -> Call {
    Call {
        id: CallId::parse("CALL_1").unwrap(),
        wire_id: "CALL_1".into(),
        version: Version { counter: 1, nonce: 1 },
        order: 1,
        over: 0,
        born: 0,
        redialled: Vec::new(),
        outbox_seed: 0,
        created_at: at(0),
        ring_until: at(30),
        caller: Party {
            device: named("a1"),
            acks: true,
            attended: true,
            session: Some(SessionId::from_random(1)),
            ..Party::new(user("ana"))
        },
        callee: Party::new(user("bo")),
        call_type: Some("AUDIO".into()),
        rang_at: None,
        push: Push::Unwanted,
        unvouched: false,
        named: false,
        switching: None,
        verified: None,
        inquiry: None,
        lost_at: None,
        ring_details: Some(RingDetails::default()),
        timeouts: CallTimeouts {
            caller_grace: 10_000,
            call_grace: 60_000,
            max: 14_400_000,
            accept_hold: 8_000,
            lost: 600_000,
            asked: 30_000,
        },
        state: State::Trying,
    }
}

fn after(call: &Call, command: Command, now: u64) -> Call {
    step(call, &command, at(now)).unwrap().next.unwrap()
}

fn ringing() -> Call {
    after(&trying(), Command::Alert { by: bo() }, 1)
}

fn active() -> Call {
    after(&ringing(), Command::Accept { by: bo() }, 2)
}

fn active_over_http() -> Call {
    after(&ringing(), Command::Accept { by: over_http("bo") }, 2)
}

fn doubtful() -> Call {
    let mut call = active();
    call.state = State::Active { accepted_at: at(2), until: None, doubtful: true };
    call
}

/// A decision in words: the state it leads to and who is told.
fn outcome(call: &Call, command: &Command, now: u64) -> String {
    match step(call, command, at(now)) {
        Ok(Decision { next: None, .. }) => "as before".into(),
        Ok(Decision { next: Some(next), tell_caller, tell_callee }) => {
            let told = match (tell_caller, tell_callee) {
                (true, true) => ", both told",
                (true, false) => ", caller told",
                (false, true) => ", callee told",
                (false, false) => "",
            };
            match next.end() {
                Some(end) => match end.reason {
                    EndReason::HungUp { by, .. } => format!("hung_up by {by:?}{told}"),
                    reason => format!("{}{told}", reason.name()),
                },
                None => format!("{}{told}", next.state.name()),
            }
        }
        Err(Refused { refusal, record }) => {
            format!("{refusal:?}{}", if record.is_some() { ", kept" } else { "" })
        }
    }
}

#[test]
fn every_cell_of_the_table() {
    let cancelled = after(&ringing(), Command::Cancel { by: ana(), reason: None }, 3);
    let rejected = after(&ringing(), Command::Reject { by: bo(), reason: None }, 3);
    let hung_up = after(&active(), Command::End { by: ana(), reason: None }, 3);
    let accept = |by| Command::Accept { by };
    let reject = |by| Command::Reject { by, reason: None };
    let cancel = |by| Command::Cancel { by, reason: None };
    let end = |by| Command::End { by, reason: None };
    let stranger = || actor("eve", named("e1"));
    let other_phone = || actor("bo", named("b2"));
    let expire = Command::Expire(PartyPresence::default());
    let leave = |role| Command::Leave { role, at: at(3), acks: false, found: at(3) };

    let table: Vec<(&str, Command, [&str; 5])> = vec![
        // columns: trying, ringing, active, doubtful, ended (cancelled by the caller)
        ("initiate again", initiate(ana()), ["as before", "as before", "as before", "as before", "InvalidState"]),
        (
            "initiate, other receiver",
            Command::Initiate {
                by: ana(),
                receiver: user("cleo"),
                call_type: Some("AUDIO".into()),
                ring_details: None,
                nonce: 0,
            },
            ["InvalidState"; 5],
        ),
        (
            "initiate, other type",
            Command::Initiate {
                by: ana(),
                receiver: user("bo"),
                call_type: Some("VIDEO".into()),
                ring_details: None,
                nonce: 0,
            },
            ["InvalidState"; 5],
        ),
        (
            "initiate, type in other letters",
            Command::Initiate {
                by: ana(),
                receiver: user("bo"),
                call_type: Some("audio".into()),
                ring_details: None,
                nonce: 0,
            },
            ["as before", "as before", "as before", "as before", "InvalidState"],
        ),
        ("initiate, another's call", initiate(stranger()), ["NotAParticipant"; 5]),
        ("initiate by the callee", initiate(bo()), ["NotAParticipant"; 5]),
        (
            "alert",
            Command::Alert { by: bo() },
            ["ringing, caller told", "as before", "InvalidState", "InvalidState", "InvalidState"],
        ),
        ("alert by the caller", Command::Alert { by: ana() }, ["NotAParticipant"; 5]),
        (
            "accept",
            accept(bo()),
            ["active, both told", "active, both told", "as before", "as before", "InvalidState, kept"],
        ),
        (
            "accept, other phone",
            accept(other_phone()),
            ["active, both told", "active, both told", "AnsweredElsewhere", "AnsweredElsewhere", "InvalidState, kept"],
        ),
        (
            "accept over HTTP",
            accept(over_http("bo")),
            ["active, caller told", "active, caller told", "as before", "as before", "InvalidState, kept"],
        ),
        ("accept by the caller", accept(ana()), ["NotAParticipant"; 5]),
        ("accept by a stranger", accept(stranger()), ["NotAParticipant"; 5]),
        (
            "reject",
            reject(bo()),
            [
                "rejected, both told",
                "rejected, both told",
                "hung_up by Some(Callee), caller told",
                "hung_up by Some(Callee), caller told",
                "InvalidState",
            ],
        ),
        (
            "reject, other phone",
            reject(other_phone()),
            ["rejected, both told", "rejected, both told", "AnsweredElsewhere", "AnsweredElsewhere", "InvalidState"],
        ),
        (
            "reject over HTTP",
            reject(over_http("bo")),
            [
                "rejected, caller told",
                "rejected, caller told",
                "hung_up by Some(Callee), caller told",
                "hung_up by Some(Callee), caller told",
                "InvalidState",
            ],
        ),
        ("reject by the caller", reject(ana()), ["NotAParticipant"; 5]),
        ("reject by a stranger", reject(stranger()), ["NotAParticipant"; 5]),
        (
            "cancel",
            cancel(ana()),
            [
                "cancelled, callee told",
                "cancelled, callee told",
                "hung_up by Some(Caller), callee told",
                "hung_up by Some(Caller), callee told",
                "as before",
            ],
        ),
        (
            "cancel by the callee",
            cancel(bo()),
            [
                "NotAParticipant",
                "NotAParticipant",
                "hung_up by Some(Callee), caller told",
                "hung_up by Some(Callee), caller told",
                "InvalidState",
            ],
        ),
        ("cancel by a stranger", cancel(stranger()), ["NotAParticipant"; 5]),
        (
            "end by the caller",
            end(ana()),
            [
                "hung_up by Some(Caller), both told",
                "hung_up by Some(Caller), both told",
                "hung_up by Some(Caller), callee told",
                "hung_up by Some(Caller), callee told",
                "InvalidState",
            ],
        ),
        (
            "end by the callee",
            end(bo()),
            [
                "hung_up by Some(Callee), both told",
                "hung_up by Some(Callee), both told",
                "hung_up by Some(Callee), caller told",
                "hung_up by Some(Callee), caller told",
                "InvalidState",
            ],
        ),
        ("end by a stranger", end(stranger()), ["NotAParticipant"; 5]),
        (
            "dismiss",
            Command::Dismiss { reason: None },
            [
                "hung_up by None, both told",
                "hung_up by None, both told",
                "hung_up by None, both told",
                "hung_up by None, both told",
                "InvalidState",
            ],
        ),
        (
            "its id is another's",
            Command::Evict { rank: 1 },
            [
                "cancelled, callee told",
                "cancelled, callee told",
                "hung_up by None, both told",
                "hung_up by None, both told",
                "NotDue",
            ],
        ),
        ("the id of another call is another's", Command::Evict { rank: 2 }, ["NotDue"; 5]),
        ("withdrawn by who did not dial it", Command::Withdraw { nonce: 7 }, ["NotDue"; 5]),
        (
            "displaced by the caller",
            Command::Displace { by: Role::Caller },
            [
                "superseded, callee told",
                "superseded, callee told",
                "hung_up by Some(Caller), callee told",
                "lost, both told",
                "NotDue",
            ],
        ),
        (
            "displaced by the callee",
            Command::Displace { by: Role::Callee },
            ["busy, both told", "busy, both told", "hung_up by Some(Callee), caller told", "lost, both told", "NotDue"],
        ),
        (
            "a party's new call",
            Command::Yield { dialer: ana(), receiver: user("cleo") },
            [
                "superseded, callee told",
                "superseded, callee told",
                "hung_up by Some(Caller), callee told",
                "lost, both told",
                "NotDue",
            ],
        ),
        (
            "a party's new call from another phone",
            Command::Yield { dialer: other_phone(), receiver: user("cleo") },
            ["busy, both told", "busy, both told", "NotDue", "lost, both told", "NotDue"],
        ),
        ("a call to a party", Command::Yield { dialer: stranger(), receiver: user("bo") }, ["NotDue"; 5]),
        (
            "glare",
            Command::Yield { dialer: bo(), receiver: user("ana") },
            ["NotDue", "NotDue", "hung_up by Some(Callee), caller told", "lost, both told", "NotDue"],
        ),
        (
            "preempted",
            Command::Preempt { by: Role::Caller },
            ["busy, both told", "busy, both told", "hung_up by Some(Caller), callee told", "lost, both told", "NotDue"],
        ),
        ("the caller leaves", leave(Role::Caller), ["trying", "ringing", "active", "active", "NotDue"]),
        ("the callee leaves", leave(Role::Callee), ["NotDue", "NotDue", "active", "active", "NotDue"]),
        ("a return without absence", Command::Return { role: Role::Caller }, ["NotDue"; 5]),
        ("expire before the deadline", expire.clone(), ["NotDue"; 5]),
        ("a push that nobody wants", Command::Push, ["NotDue"; 5]),
        ("a question about it", Command::Verify, ["NotDue", "NotDue", "active", "active", "NotDue"]),
        ("nobody knows it after a loss", Command::Doubt, ["NotDue", "NotDue", "active", "active", "NotDue"]),
        ("the deadline stands anyway", Command::KeepDeadline, ["NotDue"; 5]),
        ("the backend reports its end", Command::Report, ["NotDue", "NotDue", "NotDue", "NotDue", "cancelled"]),
    ];
    for (what, command, expected) in &table {
        for (call, expected) in [trying(), ringing(), active(), doubtful(), cancelled.clone()].iter().zip(expected) {
            assert_eq!(outcome(call, command, 4), *expected, "{what} in {}", call.state.name());
        }
    }

    // Repeats of the command that ended the call, by its sender and device; others are refused.
    assert_eq!(outcome(&rejected, &reject(bo()), 4), "as before");
    assert_eq!(outcome(&rejected, &reject(other_phone()), 4), "InvalidState");
    assert_eq!(outcome(&rejected, &reject(over_http("bo")), 4), "as before");
    assert_eq!(outcome(&cancelled, &cancel(actor("ana", named("a2"))), 4), "InvalidState");
    assert_eq!(outcome(&hung_up, &end(ana()), 4), "as before");
    assert_eq!(outcome(&hung_up, &end(bo()), 4), "InvalidState");
    // A late accept of a call that was active concerns the sender's session only.
    assert_eq!(outcome(&hung_up, &accept(bo()), 4), "Over");
    // The first socket accept after one over HTTP binds the device; then others are told.
    assert_eq!(outcome(&active_over_http(), &accept(bo()), 4), "active, callee told");
    let bound = after(&active_over_http(), accept(bo()), 4);
    assert_eq!(outcome(&bound, &accept(other_phone()), 5), "AnsweredElsewhere");
    // Whatever device rejects what was accepted over HTTP hangs up.
    assert_eq!(outcome(&active_over_http(), &reject(other_phone()), 4), "hung_up by Some(Callee), caller told");
}

#[test]
fn a_ring_ends_at_its_deadline_and_not_before() {
    let expire = Command::Expire(PartyPresence::default());
    assert_eq!(trying().deadline(), Some(at(30)));
    assert_eq!(outcome(&trying(), &expire, 29), "NotDue");
    assert_eq!(outcome(&trying(), &expire, 30), "no_answer, both told");
    assert_eq!(outcome(&ringing(), &expire, 31), "no_answer, both told");
}

#[test]
fn a_ringing_caller_has_his_grace() {
    let gone = after(&ringing(), Command::Leave { role: Role::Caller, at: at(3), acks: false, found: at(3) }, 3);
    assert_eq!(gone.deadline(), Some(at(13)));
    let away = Command::Expire(PartyPresence::default());
    let back = Command::Expire(PartyPresence { caller_present: true, ..PartyPresence::default() });
    let mass_disconnect = Command::Expire(PartyPresence { mass_disconnect: true, ..PartyPresence::default() });
    assert_eq!(outcome(&gone, &away, 12), "NotDue");
    assert_eq!(outcome(&gone, &away, 13), "caller_gone, callee told");
    assert_eq!(outcome(&gone, &back, 13), "ringing");
    // A mass disconnect prolongs once, and never beyond the ring.
    let prolonged = after(&gone, mass_disconnect.clone(), 13);
    assert_eq!(prolonged.deadline(), Some(at(30)));
    assert_eq!(outcome(&prolonged, &mass_disconnect, 30), "no_answer, both told");
    assert_eq!(after(&gone, Command::Return { role: Role::Caller }, 5).deadline(), Some(at(30)));
    // Accepted meanwhile, it is a paid call: his time is that of a party to one.
    let accepted = after(&gone, Command::Accept { by: bo() }, 5);
    assert_eq!(accepted.deadline(), Some(at(63)));
    assert_eq!(outcome(&accepted, &away, 62), "NotDue");
    assert_eq!(outcome(&accepted, &away, 63), "lost, both told");
    assert_eq!(after(&prolonged, Command::Accept { by: bo() }, 14).deadline(), Some(at(133)), "a storm's time stays");
}

#[test]
fn an_active_call_outlives_absence_without_proof() {
    let away = Command::Expire(PartyPresence::default());
    let caller_gone =
        after(&active(), Command::Leave { role: Role::Caller, at: at(10), acks: false, found: at(10) }, 10);
    assert_eq!(caller_gone.deadline(), Some(at(70)));
    assert_eq!(outcome(&caller_gone, &away, 70), "lost, both told", "with acks absence is proof");

    let mut deployed = active();
    deployed.caller.acks = false;
    deployed.callee.acks = false;
    let caller_gone =
        after(&deployed, Command::Leave { role: Role::Caller, at: at(10), acks: false, found: at(10) }, 10);
    let doubtful = after(&caller_gone, away.clone(), 70);
    assert!(matches!(doubtful.state, State::Active { doubtful: true, .. }));
    let both_gone = after(&doubtful, Command::Leave { role: Role::Callee, at: at(80), acks: false, found: at(80) }, 80);
    assert_eq!(outcome(&both_gone, &away, 140), "active", "two lost sockets are not two dead phones");
    let returned = after(&doubtful, Command::Return { role: Role::Caller }, 90);
    assert!(matches!(returned.state, State::Active { doubtful: false, .. }));
}

/// After a loss the store had an old session of a node that was dead: swept, it made the party absent from before he left.
#[test]
fn of_several_sessions_that_left_the_last_one_counts() {
    let away = Command::Expire(PartyPresence::default());
    let first = after(&active(), Command::Leave { role: Role::Caller, at: at(10), acks: false, found: at(10) }, 20);
    let last = after(&first, Command::Leave { role: Role::Caller, at: at(15), acks: false, found: at(15) }, 20);
    assert_eq!((last.caller.absent_since, last.deadline()), (Some(at(15)), Some(at(75))));
    for second in [10, 15] {
        assert_eq!(
            outcome(&last, &Command::Leave { role: Role::Caller, at: at(second), acks: false, found: at(second) }, 21),
            "NotDue",
            "{second}"
        );
    }
    assert_eq!(outcome(&last, &away, 74), "NotDue");
    assert_eq!(outcome(&last, &away, 75), "lost, both told");
}

#[test]
fn the_maximum_ends_a_call_or_makes_it_doubtful() {
    let away = Command::Expire(PartyPresence::default());
    let limit = 2 + 14_400;
    assert_eq!(outcome(&active(), &away, limit - 1), "NotDue");
    assert_eq!(outcome(&active(), &away, limit), "max_duration, both told");
    let mut deployed = active();
    deployed.caller.acks = false;
    deployed.callee.acks = false;
    assert_eq!(outcome(&deployed, &away, limit), "active");
    deployed.caller.attended = false;
    deployed.callee.attended = false;
    assert_eq!(outcome(&deployed, &away, limit), "max_duration, both told", "a call nobody attended ends");
}

fn with_webhooks() -> Call {
    Call { push: Push::Due(at(2)), ..trying() }
}

#[test]
fn a_push_is_asked_for_once_unless_a_device_confirms() {
    let expire = Command::Expire(PartyPresence::default());
    let call = with_webhooks();
    assert_eq!(call.deadline(), Some(at(2)));
    assert_eq!(outcome(&call, &expire, 1), "NotDue");
    let asked = after(&call, expire.clone(), 2);
    assert_eq!((asked.push, asked.deadline()), (Push::Asked(at(2)), Some(at(30))));
    assert_eq!(outcome(&call, &expire, 2), "trying, callee told", "perhaps nobody ever told him");
    assert_eq!(outcome(&call, &Command::Push, 0), "trying", "he has just been told");
    assert_eq!(outcome(&asked, &Command::Push, 3), "NotDue");
    assert_eq!(after(&call, Command::Push, 0).push, Push::Asked(at(0)), "at once where nobody can confirm");
    let confirmed = after(&call, Command::Alert { by: bo() }, 1);
    assert_eq!((confirmed.deadline(), confirmed.rang_at), (Some(at(30)), Some(at(1))));
    assert_eq!(outcome(&confirmed, &expire, 2), "NotDue");
    assert_eq!(outcome(&confirmed, &Command::Push, 2), "NotDue");
    assert_eq!(outcome(&call, &expire, 31), "no_answer, both told", "a push for a ring that is over helps nobody");
    // The push does not stand in the way of the caller's grace.
    let gone = after(&call, Command::Leave { role: Role::Caller, at: at(0), acks: false, found: at(0) }, 1);
    assert_eq!(gone.deadline(), Some(at(2)));
    assert_eq!(after(&gone, expire, 2).deadline(), Some(at(10)));
}

#[test]
fn the_ring_deadline_waits_for_the_backend() {
    let expire = Command::Expire(PartyPresence::default());
    let call = Call { inquiry: Some(Inquiry { at: at(28), asked: 0 }), ..ringing() };
    assert_eq!(call.deadline(), Some(at(28)));
    assert_eq!(outcome(&call, &expire, 27), "NotDue");
    let mut asked = after(&call, expire.clone(), 28);
    assert_eq!(asked.inquiry, Some(Inquiry { at: at(33), asked: 1 }));
    let kept = after(&asked, Command::KeepDeadline, 29);
    assert_eq!((kept.inquiry, kept.deadline()), (None, Some(at(30))));
    assert_eq!(outcome(&kept, &Command::KeepDeadline, 29), "NotDue");
    assert_eq!(outcome(&kept, &expire, 30), "no_answer, both told");
    assert_eq!(outcome(&asked, &expire, 32), "NotDue", "nobody is told meanwhile");
    assert_eq!(outcome(&asked, &Command::Accept { by: over_http("bo") }, 32), "active, caller told");
    for second in [33, 38, 43] {
        asked = after(&asked, expire.clone(), second);
    }
    assert_eq!(asked.inquiry, Some(Inquiry { at: at(48), asked: 4 }));
    let given_up = after(&asked, expire.clone(), 48);
    assert_eq!((given_up.inquiry, given_up.deadline()), (None, Some(at(30))));
    assert_eq!(outcome(&given_up, &expire, 48), "no_answer, both told");
    // A caller who went away while it is open is judged by the ring deadline, not by his grace.
    let gone = after(&asked, Command::Leave { role: Role::Caller, at: at(44), acks: false, found: at(44) }, 44);
    assert_eq!(gone.deadline(), Some(at(48)));
}

/// Ids of outbox messages come from the record, whatever is done to it, and never from what a phone chose.
#[test]
fn an_outbox_message_keeps_its_id_and_a_call_id_gives_none() {
    let call = Call { id: CallId::parse("CALL_7.4").unwrap(), born: 3, outbox_seed: 0xabc, ..trying() };
    let mut steps = vec![call.clone(), after(&call, initiate(ana()), 1)];
    for command in [
        Command::Alert { by: bo() },
        Command::Accept { by: bo() },
        Command::Verify,
        Command::End { by: ana(), reason: None },
    ] {
        steps.push(after(steps.last().unwrap(), command, 10));
    }
    assert!(steps.iter().all(|call| call.outbox_id("msg", 4) == "msg_0000000000000abc_4"), "{steps:?}");
    let again = Call { outbox_seed: 0xdef, ..call.clone() };
    assert_ne!(again.outbox_id("callback", 2), call.outbox_id("callback", 2), "the same call id, another call");
    let older = Call { outbox_seed: 0, ..call };
    assert_eq!((older.outbox_id("msg", 4), older.outbox_id("callback", 2)), ("7.4.4".into(), "7.4.callback.2".into()));
}

/// Kinds and numbers of the events of each step.
fn told(steps: &[&Call]) -> Vec<String> {
    let mut before: Option<&Call> = None;
    let mut told = Vec::new();
    for call in steps {
        told.extend(events(before, call).iter().map(|event| format!("{} {}", event.seq, event.kind.name())));
        before = Some(call);
    }
    told
}

#[test]
fn what_the_backend_is_told_of_a_call() {
    let call = with_webhooks();
    let pushed = after(&call, Command::Push, 0);
    let ringing = after(&pushed, Command::Alert { by: bo() }, 1);
    let active = after(&ringing, Command::Accept { by: bo() }, 2);
    let asked = after(&active, Command::Verify, 10);
    assert_eq!(outcome(&asked, &Command::Verify, 14), "NotDue", "at most once in 5 s");
    let twice = after(&asked, Command::Verify, 15);
    let ended = after(&twice, Command::End { by: ana(), reason: None }, 20);
    let all = [
        "1 call.initiated",
        "2 call.push_required",
        "3 call.ringing",
        "4 call.accepted",
        "5 call.verify",
        "6 call.verify",
        "7 call.ended",
    ];
    assert_eq!(told(&[&call, &pushed, &ringing, &active, &asked, &twice, &ended]), all);
    // What is put back after a loss of the store has the same numbers, as far as the record still shows it.
    assert_eq!(told(&[&ended]), [&all[..4], &all[5..]].concat());
    assert_eq!(events_so_far(&ended)[3], WebhookEvent { kind: WebhookEventKind::Accepted, seq: 4, at: at(2) });

    let terminal = |call: &Call, command, now| told(&[call, &after(call, command, now)]).pop().unwrap();
    let expire = Command::Expire(PartyPresence::default());
    assert_eq!(terminal(&trying(), Command::Cancel { by: ana(), reason: None }, 3), "5 call.cancelled");
    assert_eq!(terminal(&trying(), Command::Displace { by: Role::Caller }, 3), "5 call.cancelled");
    assert_eq!(terminal(&trying(), Command::Reject { by: bo(), reason: None }, 3), "5 call.rejected");
    assert_eq!(terminal(&trying(), Command::Displace { by: Role::Callee }, 3), "5 call.missed");
    assert_eq!(terminal(&trying(), expire.clone(), 30), "5 call.missed");
    assert_eq!(terminal(&trying(), Command::End { by: ana(), reason: None }, 3), "5 call.ended");
    assert_eq!(terminal(&active_over_http(), Command::Cancel { by: ana(), reason: None }, 3), "5 call.ended");
    // A change that is no milestone tells nothing.
    assert!(
        events(
            Some(&active),
            &after(&active, Command::Leave { role: Role::Caller, at: at(3), acks: false, found: at(3) }, 3)
        )
        .is_empty()
    );
    let cancelled = after(&trying(), Command::Cancel { by: ana(), reason: None }, 3);
    let late = step(&cancelled, &Command::Accept { by: bo() }, at(4)).unwrap_err().record.unwrap();
    assert!(events(Some(&cancelled), &late).is_empty());
}

#[test]
fn what_an_unmodified_backend_is_told() {
    let told = |before: &Call, command: Command, now: u64| callbacks(Some(before), &after(before, command, now));
    let cancel = |reason: &str, unless_reported, due, until| {
        let ask = Ask::Cancel { reason: reason.into(), unless_reported };
        Some(Callback { ask, by: Role::Caller, due: at(due), until: at(until), of: Some(at(0)) })
    };
    let undo = |due, until| {
        Some(Callback { ask: Ask::End, by: Role::Callee, due: at(due), until: at(until), of: Some(at(0)) })
    };
    let reject = |by| Command::Reject { by, reason: Some("Later".into()) };
    let rejected = Callback {
        ask: Ask::Reject { reason: "Later".into() },
        by: Role::Callee,
        due: at(3),
        until: at(123),
        of: Some(at(0)),
    };
    assert_eq!(told(&ringing(), reject(bo()), 3), Some(rejected));
    assert_eq!(told(&ringing(), reject(over_http("bo")), 3), None, "its own word");
    let cancels = |by| Command::Cancel { by, reason: None };
    assert_eq!(told(&ringing(), cancels(ana()), 3), cancel("Caller ended call", true, 5, 123));
    assert_eq!(told(&ringing(), cancels(over_http("ana")), 3), None);
    let expire = Command::Expire(PartyPresence::default());
    assert_eq!(told(&ringing(), expire.clone(), 30), cancel("No answer", false, 30, 150));
    let gone = after(&ringing(), Command::Leave { role: Role::Caller, at: at(3), acks: false, found: at(3) }, 3);
    assert_eq!(told(&gone, expire, 13), cancel("User disconnected", false, 13, 133));
    assert_eq!(told(&ringing(), Command::Displace { by: Role::Caller }, 3), cancel("Caller ended call", false, 3, 123));
    let busy = ringing().ended(EndReason::Busy, None, None, at(3));
    assert_eq!(callbacks(None, &busy), cancel("User is busy", false, 3, 123));
    // Any other end of an active call: both apps tell it, a third end costs money.
    assert_eq!(told(&active(), Command::End { by: ana(), reason: None }, 3), None);
    assert_eq!(told(&active(), reject(bo()), 3), None);
    assert_eq!(told(&ringing(), Command::End { by: ana(), reason: None }, 3), None, "an accept was missed");
    assert_eq!(told(&active(), Command::Displace { by: Role::Caller }, 3), None);
    // A cancel that met a young accept, and an accept that lost.
    assert_eq!(told(&active(), cancels(ana()), 5), undo(7, 11));
    assert_eq!(told(&active(), cancels(ana()), 11), None, "no longer young");
    assert_eq!(told(&active(), cancels(over_http("ana")), 5), None, "the backend cancelled it by itself");
    let late = |call: &Call| {
        let lost = step(call, &Command::Accept { by: bo() }, at(6)).unwrap_err().record;
        lost.and_then(|lost| callbacks(Some(call), &lost))
    };
    assert_eq!(late(&after(&ringing(), cancels(ana()), 3)), undo(11, 15));
    assert_eq!(late(&busy), undo(11, 15));
    assert_eq!(late(&after(&ringing(), Command::End { by: ana(), reason: None }, 3)), None);
    let reported = after(&after(&ringing(), cancels(ana()), 3), Command::Report, 4);
    assert!(reported.end().unwrap().reported);
    assert_eq!(callbacks(Some(&after(&ringing(), cancels(ana()), 3)), &reported), None);
}

/// Fails before: an accept over REST after the hang-up was refused and forgotten, and the row stayed ongoing.
#[test]
fn an_accept_over_rest_that_comes_after_the_end_is_undone_by_a_look() {
    let close = |due, until| {
        Some(Callback {
            ask: Ask::EndOngoing { seconds: 0 },
            by: Role::Callee,
            due: at(due),
            until: at(until),
            of: Some(at(0)),
        })
    };
    let accepts = |call: &Call, by, now| step(call, &Command::Accept { by }, at(now)).unwrap_err();
    let hung_up = after(&active(), Command::End { by: ana(), reason: None }, 3);
    let missed = after(&ringing(), Command::End { by: ana(), reason: None }, 3);
    let max = active().ended(EndReason::MaxDuration, None, None, at(3));
    for ended in [&hung_up, &missed, &max, &active().ended(EndReason::Lost { party: Role::Caller }, None, None, at(3))]
    {
        let refused = accepts(ended, over_http("bo"), 4);
        let reopened = *refused.record.expect("it is kept");
        assert_eq!(callbacks(Some(ended), &reopened), close(9, 13), "{:?}", ended.end());
        assert_eq!(callbacks(None, &reopened), close(9, 13), "put back after a loss of the store");
        assert!(events(Some(ended), &reopened).is_empty());
        // Repeated before the row is closed again, then after.
        assert_eq!(accepts(&reopened, over_http("bo"), 8).record, None);
        let again = *accepts(&reopened, over_http("bo"), 9).record.expect("it is kept");
        assert_eq!(callbacks(Some(&reopened), &again), close(14, 18));
    }
    assert_eq!(accepts(&hung_up, over_http("bo"), 4).refusal, Refusal::Over);
    assert_eq!(accepts(&hung_up, bo(), 4), Refusal::Over.into(), "a phone changes nothing");
    assert_eq!(step(&hung_up, &Command::Accept { by: over_http("ana") }, at(4)), Err(Refusal::NotAParticipant.into()));
    // An accept that lost: its twin over REST is undone with it, a later one by itself.
    let cancelled = after(&ringing(), Command::Cancel { by: ana(), reason: None }, 3);
    let lost = *accepts(&cancelled, bo(), 4).record.expect("it is kept");
    assert_eq!(accepts(&lost, over_http("bo"), 5), Refusal::InvalidState.into());
    let again = *accepts(&lost, over_http("bo"), 10).record.expect("it is kept");
    assert_eq!(callbacks(Some(&lost), &again), close(15, 19));
    assert_eq!(again.end().unwrap().late_accept, lost.end().unwrap().late_accept);
}

/// Fails before: the row of a call that nobody can end any more stayed ongoing.
#[test]
fn the_row_of_a_lost_call_is_closed_with_the_time_both_were_there() {
    let lost = |call: &Call| call.ended(EndReason::Lost { party: Role::Caller }, None, None, at(70));
    let told = |before: &Call, ended: &Call| callbacks(Some(before), ended);
    let close = |seconds, end: u64| {
        let ask = Ask::EndOngoing { seconds };
        Some(Callback { ask, by: Role::Caller, due: at(end + 10), until: at(end + 120), of: Some(at(0)) })
    };
    let leaves =
        |call: &Call, role, now| after(call, Command::Leave { role, at: at(now), acks: false, found: at(now) }, now);
    let one_left = leaves(&active(), Role::Callee, 30);
    let both_left = leaves(&one_left, Role::Caller, 20);
    assert_eq!(told(&active(), &lost(&active())), close(68, 70), "accepted at 2");
    assert_eq!(told(&one_left, &lost(&one_left)), close(28, 70));
    assert_eq!(told(&both_left, &lost(&both_left)), close(18, 70));
    let early = leaves(&ringing(), Role::Caller, 1);
    let early = after(&early, Command::Accept { by: bo() }, 2);
    assert_eq!(told(&early, &lost(&early)), close(0, 70), "he left before it was accepted");
    // At the maximum whoever is there hears of it and tells the backend himself.
    let max = |call: &Call| call.ended(EndReason::MaxDuration, None, None, at(70));
    assert_eq!(told(&active(), &max(&active())), None);
    assert_eq!(told(&one_left, &max(&one_left)), None);
    assert_eq!(told(&both_left, &max(&both_left)), close(18, 70));
    let mut nobody = active_over_http();
    (nobody.caller.attended, nobody.callee.attended) = (false, false);
    assert_eq!(told(&nobody, &max(&nobody)), None, "it never had a phone that could be gone");
}

#[test]
fn what_a_row_leaves_to_say() {
    let reject = Ask::Reject { reason: "Later".into() };
    let cancel = Ask::Cancel { reason: "No answer".into(), unless_reported: false };
    let close = Ask::EndOngoing { seconds: 7 };
    let over = after(&ringing(), Command::Reject { by: bo(), reason: None }, 3);
    let left = |ask: &Ask, row| left_to_say(ask, &over, row, at(20));
    for ask in [&reject, &cancel, &Ask::End, &close] {
        for row in [RowStatus::Rejected, RowStatus::Cancelled, RowStatus::Missed, RowStatus::Ended] {
            assert_eq!(left(ask, row), Left::Nothing, "{ask:?} {row:?}");
        }
    }
    assert_eq!([&reject, &cancel].map(|ask| left(ask, RowStatus::Open)), [Left::Same; 2]);
    assert_eq!([&Ask::End, &close].map(|ask| left(ask, RowStatus::Ongoing)), [Left::Same; 2]);
    assert_eq!([&Ask::End, &close].map(|ask| left(ask, RowStatus::Open)), [Left::Nothing, Left::Unclear]);
    // Accepted there and never told: an end without talking time, as long as that is certainly the truth.
    assert_eq!(left(&reject, RowStatus::Ongoing), Left::Unclear);
    assert_eq!(left_to_say(&reject, &over, RowStatus::Ongoing, at(8)), Left::End);
    let late = step(&over, &Command::Accept { by: bo() }, at(4)).unwrap_err().record.unwrap();
    assert_eq!(left_to_say(&reject, &late, RowStatus::Ongoing, at(20)), Left::Nothing, "another request undoes it");
}

#[test]
fn tokens_are_kept_newest_first() {
    let with = |actor: Actor, token: &str| Actor { token: Some(SealedToken::new(token)), ..actor };
    let accepted = after(&ringing(), Command::Accept { by: with(bo(), "t1") }, 2);
    let ended = after(&accepted, Command::End { by: with(bo(), "t2"), reason: None }, 3);
    assert_eq!(ended.callee.tokens, [SealedToken::new("t2"), SealedToken::new("t1")]);
    assert!(ended.caller.tokens.is_empty());
    assert!(!format!("{ended:?}").contains("t1"), "a token never shows itself");
}

#[test]
fn times_as_webhooks_write_them() {
    let text = |millis: u64| Timestamp::from_millis(millis).rfc3339();
    assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(text(951_782_400_000), "2000-02-29T00:00:00.000Z");
    assert_eq!(text(1_795_368_390_715), "2026-11-22T17:26:30.715Z");
    assert_eq!(text(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
    assert_eq!(text(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
}

#[test]
fn who_may_take_a_line() {
    let cases = [
        (trying(), ana(), "cleo", Contention::Displace(Role::Caller)),
        (trying(), bo(), "cleo", Contention::Displace(Role::Callee)),
        (trying(), bo(), "ana", Contention::Glare),
        (trying(), actor("cleo", Device::Unnamed), "bo", Contention::Busy),
        (active(), ana(), "cleo", Contention::Displace(Role::Caller)),
        (active(), actor("ana", named("a2")), "cleo", Contention::Busy),
        (active(), bo(), "cleo", Contention::Displace(Role::Callee)),
        (active(), actor("cleo", Device::Unnamed), "bo", Contention::Busy),
        (doubtful(), actor("cleo", Device::Unnamed), "bo", Contention::Busy),
        (doubtful(), actor("ana", named("a2")), "cleo", Contention::Displace(Role::Caller)),
        (after(&active(), Command::End { by: ana(), reason: None }, 3), ana(), "bo", Contention::Free),
    ];
    for (line, dialer, receiver, expected) in cases {
        assert_eq!(contend(&line, &dialer, &user(receiver)), expected, "{} dials {receiver}", dialer.user);
    }
}

#[test]
fn what_each_side_hears() {
    let notified = |call: &Call, role, device: &Device| {
        let session = SessionId::from_random(1);
        notifications(call, role, device, Some(&session))
            .iter()
            .map(|notification| format!("{notification:?}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (caller, callee, other) = (named("a1"), named("b1"), named("b2"));
    assert_eq!(notified(&trying(), Role::Callee, &callee), "Incoming");
    assert_eq!(notified(&trying(), Role::Caller, &caller), "");
    assert_eq!(notified(&ringing(), Role::Caller, &caller), "Ringing");
    assert_eq!(notified(&active(), Role::Caller, &caller), "Accepted");
    assert_eq!(notified(&active(), Role::Callee, &callee), "");
    assert_eq!(notified(&active(), Role::Callee, &other), r#"Cancelled { reason: "Answered elsewhere" }"#);
    assert_eq!(notified(&active_over_http(), Role::Callee, &other), "", "a command over HTTP tells nobody elsewhere");

    let rejected = after(&ringing(), Command::Reject { by: bo(), reason: Some("Later".into()) }, 3);
    assert_eq!(notified(&rejected, Role::Caller, &caller), r#"Rejected { reason: "Later" }"#);
    assert_eq!(notified(&rejected, Role::Callee, &callee), "");
    assert_eq!(notified(&rejected, Role::Callee, &other), r#"Cancelled { reason: "Declined elsewhere" }"#);

    let timeout = after(&ringing(), Command::Expire(PartyPresence::default()), 30);
    assert_eq!(notified(&timeout, Role::Caller, &caller), "Timeout");
    assert_eq!(notified(&timeout, Role::Callee, &callee), r#"Cancelled { reason: "Timeout" }"#);

    let missed = after(&ringing(), Command::End { by: ana(), reason: None }, 3);
    let said = notified(&missed, Role::Callee, &callee);
    assert!(said.starts_with("Ended") && said.ends_with(r#"Cancelled { reason: "Caller ended call" }"#), "{said}");
    assert_eq!(notified(&missed, Role::Caller, &caller), "");

    let busy = after(&ringing(), Command::Displace { by: Role::Callee }, 3);
    assert_eq!(notified(&busy, Role::Caller, &caller), "Busy");
    assert_eq!(
        notifications(&busy, Role::Caller, &caller, Some(&SessionId::from_random(2))),
        vec![],
        "the dialing session only"
    );

    let cancelled = after(&ringing(), Command::Cancel { by: ana(), reason: None }, 3);
    let lost = step(&cancelled, &Command::Accept { by: bo() }, at(4)).unwrap_err().record.unwrap();
    let said = notified(&lost, Role::Callee, &callee);
    assert!(said.contains(r#"Ended { reason: "Call ended", by: None"#), "{said}");
    assert_eq!(notified(&lost, Role::Caller, &caller), "", "the caller hears nothing of it");
}

/// The envelope of the accept may come after that of the end, and is dropped then.
#[test]
fn a_device_whose_accept_elsewhere_was_overtaken_by_the_end_stops_ringing() {
    let told = vec![Notification::cancelled("Answered elsewhere")];
    for command in [Command::End { by: ana(), reason: None }, Command::Cancel { by: ana(), reason: None }] {
        let over = after(&active(), command, 3);
        assert_eq!(notifications(&over, Role::Callee, &named("b2"), None), told);
        assert!(!notifications(&over, Role::Callee, &named("b1"), None).contains(&told[0]));
    }
    let over = after(&active(), Command::End { by: bo(), reason: None }, 3);
    assert_eq!(notifications(&over, Role::Callee, &named("b2"), None), told);
    assert_eq!(notifications(&over, Role::Callee, &named("b1"), None), vec![]);
    let nobody_elsewhere = after(&active_over_http(), Command::End { by: ana(), reason: None }, 3);
    assert_eq!(
        notifications(&nobody_elsewhere, Role::Callee, &named("b2"), None).len(),
        1,
        "any device may be the one"
    );
}

/// A phone that was told that another answered may end the call all the same: whoever talks hears of it.
#[test]
fn the_device_in_the_call_hears_that_another_of_its_user_ended_it() {
    let kinds = |call: &Call, role, device: &str| -> Vec<NotificationKind> {
        notifications(call, role, &named(device), None).iter().map(Notification::kind).collect()
    };
    for (by, role, talking, other) in [(bo(), Role::Callee, "b1", "b2"), (ana(), Role::Caller, "a1", "a2")] {
        let from_other = Actor { device: named(other), ..by };
        let over = after(&active(), Command::End { by: from_other.clone(), reason: None }, 3);
        assert_eq!(kinds(&over, role, talking), [NotificationKind::Ended]);
        assert!(!kinds(&over, role, other).contains(&NotificationKind::Ended), "he knows");
        assert!(!kinds(&over, role, "third").contains(&NotificationKind::Ended), "it is not in the call");
        assert_eq!(
            kinds(&over, role.other(), if role == Role::Caller { "b1" } else { "a1" }),
            [NotificationKind::Ended]
        );
        let ringing = after(&ringing(), Command::End { by: from_other, reason: None }, 3);
        assert!(!kinds(&ringing, role, talking).contains(&NotificationKind::Ended), "nobody talks yet");
    }
    let over = after(&active_over_http(), Command::End { by: Actor { device: named("b2"), ..bo() }, reason: None }, 3);
    assert_eq!(kinds(&over, Role::Callee, "b1"), [], "who knows which of his talked");
}

#[test]
fn the_deployed_app_hears_an_end_only_when_its_screen_listens() {
    let met = after(&active(), Command::Cancel { by: ana(), reason: None }, 5);
    assert_eq!(held_until(&met, Role::Callee, false, NotificationKind::Ended), Some(at(10)), "8 s after the accept");
    assert_eq!(held_until(&met, Role::Callee, true, NotificationKind::Ended), None, "with acks at once");
    let old = after(&active(), Command::Cancel { by: ana(), reason: None }, 11);
    assert_eq!(held_until(&old, Role::Callee, false, NotificationKind::Ended), None);
    let ended = after(&active(), Command::End { by: ana(), reason: None }, 5);
    assert_eq!(held_until(&ended, Role::Callee, false, NotificationKind::Ended), None, "an end is no cancel");
}

#[test]
fn early_commands_before_their_call() {
    let early_command = |name: &str, kind, seconds| EarlyCommand {
        user: user(name),
        device: named("x"),
        kind,
        trusted: false,
        reason: None,
        at: at(seconds),
        token: None,
    };
    let reason =
        |early_commands: &[EarlyCommand]| resolve(&trying(), early_commands).end().map(|end| end.reason.name());
    assert_eq!(reason(&[early_command("bo", EarlyCommandKind::Reject, 0)]), Some("rejected"));
    assert_eq!(reason(&[early_command("ana", EarlyCommandKind::Cancel, 0)]), Some("cancelled"));
    assert_eq!(
        reason(&[early_command("eve", EarlyCommandKind::Reject, 0)]),
        None,
        "a stranger's word counts for nothing"
    );
    assert_eq!(reason(&[early_command("bo", EarlyCommandKind::Cancel, 0)]), None, "only the caller cancels");
    assert_eq!(reason(&[early_command("ana", EarlyCommandKind::Accept, 0)]), None, "only the receiver accepts");
    let accepted = resolve(&trying(), &[early_command("bo", EarlyCommandKind::Accept, 0)]);
    assert_eq!(accepted.state.name(), "active");
    let met = [early_command("ana", EarlyCommandKind::Cancel, 2), early_command("bo", EarlyCommandKind::Accept, 1)];
    assert_eq!(reason(&met), Some("hung_up"), "an accept that a cancel follows is a hang-up");
    let trusted = EarlyCommand { trusted: true, ..early_command("bo", EarlyCommandKind::Cancel, 0) };
    assert_eq!(reason(&[trusted]), Some("cancelled"), "Laravel names the receiver only");
}

#[test]
fn ids_in_their_spellings() {
    assert_eq!(CallId::parse("CALL_123").unwrap(), CallId::parse("123").unwrap());
    assert_eq!(UserId::parse("USR_USR_5").unwrap().as_str(), "USR_5");
    for bad in ["", "with space", "ü", &"x".repeat(65), "a/b"] {
        assert!(UserId::parse(bad).is_err() && CallId::parse(bad).is_err(), "{bad:?}");
    }
    for (text, id) in [("CALL_CALL_5", "5"), ("CALL_CALL_CALL_5", "5"), ("CALL_CAL_5", "CAL_5"), ("5CALL_", "5CALL_")] {
        assert_eq!(CallId::parse(text).unwrap().as_str(), id);
    }
    for prefix in ["CALL_", "CALL_CALL_"] {
        assert!(CallId::parse(prefix).is_err(), "{prefix} names no call");
        assert_eq!(CallId::stored(prefix).unwrap().as_str(), prefix, "what is stored is not judged again");
    }
}

proptest! {
    #[test]
    fn an_id_reads_as_itself(text in "(CALL_|USR_){0,4}[A-Za-z0-9_.:-]{0,8}") {
        if let Ok(id) = CallId::parse(&text) {
            prop_assert_eq!(CallId::parse(id.as_str()), Ok(id.clone()));
            prop_assert_eq!(CallId::parse(&format!("CALL_{id}")), Ok(id.clone()));
            prop_assert_eq!(CallId::stored(id.as_str()), Ok(id));
        }
        if let Ok(user) = UserId::parse(&text) {
            prop_assert_eq!(UserId::parse(user.as_str()), Ok(user.clone()));
            prop_assert_eq!(UserId::stored(user.as_str()), Ok(user));
        }
    }
}

fn any_actor() -> impl Strategy<Value = Actor> {
    let device = prop_oneof![
        Just(Device::Unknown),
        Just(Device::Unnamed),
        "[abc]1".prop_map(|name| Device::Named(name.into())),
    ];
    (prop_oneof![Just("ana"), Just("bo"), Just("eve")], device, any::<bool>()).prop_map(|(name, device, acks)| Actor {
        user: user(name),
        session: device.is_known().then(|| SessionId::from_random(3)),
        device,
        acks,
        token: None,
    })
}

fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Caller), Just(Role::Callee)]
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        any_actor().prop_map(initiate),
        any_actor().prop_map(|by| Command::Alert { by }),
        any_actor().prop_map(|by| Command::Accept { by }),
        any_actor().prop_map(|by| Command::Reject { by, reason: None }),
        any_actor().prop_map(|by| Command::Cancel { by, reason: None }),
        any_actor().prop_map(|by| Command::End { by, reason: None }),
        any_actor().prop_map(|by| Command::RequestVideo { by }),
        (any_actor(), any::<bool>()).prop_map(|(by, accepted)| Command::AnswerVideo { by, accepted, reason: None }),
        any_actor().prop_map(|by| Command::Downgrade { by }),
        Just(Command::Dismiss { reason: None }),
        Just(Command::Withdraw { nonce: 7 }),
        Just(Command::Evict { rank: 1 }),
        any_role().prop_map(|by| Command::Displace { by }),
        any_actor().prop_map(|dialer| Command::Yield { dialer, receiver: user("cleo") }),
        any_role().prop_map(|by| Command::Preempt { by }),
        (any_role(), any::<bool>()).prop_map(|(by, accepted)| Command::GiveWay { by, accepted }),
        any_role().prop_map(|role| Command::Leave { role, at: at(1), acks: false, found: at(1) }),
        any_role().prop_map(|role| Command::Return { role }),
        Just(Command::Push),
        Just(Command::Verify),
        Just(Command::KeepDeadline),
        Just(Command::Doubt),
        Just(Command::Report),
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(caller_present, callee_present, mass_disconnect)| {
            Command::Expire(PartyPresence {
                caller_present,
                callee_present,
                mass_disconnect,
                unsure: mass_disconnect && caller_present,
            })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_commands_keeps_the_promises(
        commands in prop::collection::vec((any_command(), 0u64..200), 1..40)
    ) {
        let mut call = with_webhooks();
        call.caller.acks = false;
        call.caller.tokens = vec![SealedToken::new("t")];
        let mut seq = 1;
        let mut now = 0;
        let mut accepts = 0;
        let mut ends = 0;
        for (command, pause) in commands {
            now += pause;
            let stranger = matches!(&command,
                Command::Accept { by } | Command::Reject { by, .. } | Command::Cancel { by, .. } | Command::End { by, .. }
                | Command::Alert { by } | Command::Initiate { by, .. } | Command::RequestVideo { by }
                | Command::AnswerVideo { by, .. } | Command::Downgrade { by } if by.user == user("eve"));
            let next = match step(&call, &command, at(now)) {
                Ok(decision) => {
                    prop_assert!(!stranger, "a stranger was obeyed");
                    if decision.next.is_none() {
                        prop_assert!(!decision.tell_caller && !decision.tell_callee, "a repeat told somebody");
                    }
                    decision.next
                }
                Err(refused) => refused.record.map(|record| *record),
            };
            let Some(next) = next else { continue };
            prop_assert!(!stranger);
            prop_assert_ne!(&next, &call, "a change that changes nothing");
            for event in events(Some(&call), &next) {
                prop_assert!(event.seq > seq, "{event:?} after {seq}");
                seq = event.seq;
            }
            if let State::Ended(end) = &call.state {
                let State::Ended(still) = &next.state else { return Err(TestCaseError::fail("left Ended")) };
                prop_assert_eq!((end.reason, end.at, end.accepted_at), (still.reason, still.at, still.accepted_at));
            } else if !next.is_live() {
                ends += 1;
                prop_assert!(next.deadline().is_none());
            }
            if call.is_ringing() && matches!(next.state, State::Active { .. }) {
                accepts += 1;
            }
            let is_doubtful = matches!(next.state, State::Active { doubtful: true, .. });
            prop_assert!(next.lost_at.is_none() || is_doubtful && next.are_both_away());
            prop_assert!(next.inquiry.is_none() || next.is_ringing() || next.lost_at.is_some());
            // Absence ends an accepted call where it was promised to be believed, or after its time.
            if let (Command::Expire(_), State::Active { .. }, Some(EndReason::Lost { party })) =
                (&command, &call.state, next.end().map(|end| end.reason))
            {
                let is_due = call.lost_at.is_some_and(|due| due <= at(now));
                prop_assert!(call.party(party).acks || is_due, "{call:?} ended by absence");
            }
            prop_assert!(next.talk() <= next.duration());
            switching_tests::promises(&call, &next, at(now))?;
            if next.is_ringing() {
                prop_assert!(next.deadline().unwrap() <= next.ring_until, "a ring without its deadline");
                prop_assert!(next.ring_details.is_some());
            } else {
                prop_assert!(next.ring_details.is_none(), "ring details outlived their ring");
            }
            // Nobody who is in the call hears that it goes on and that it is over.
            for role in [Role::Caller, Role::Callee] {
                let notifications = notifications(&next, role, &next.party(role).device, None);
                prop_assert!(next.is_live() || !notifications.iter().any(|notification| {
                    matches!(notification.kind(), NotificationKind::Incoming | NotificationKind::Ringing | NotificationKind::Accepted)
                }), "{:?} hears {notifications:?} after the end", role);
                let kinds: std::collections::HashSet<_> = notifications.iter().map(Notification::kind).collect();
                prop_assert_eq!(kinds.len(), notifications.len(), "said twice");
            }
            let stored: Call = serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap();
            prop_assert_eq!(&stored, &next);
            call = next;
        }
        prop_assert!(accepts <= 1 && ends <= 1);
    }

    #[test]
    fn a_deadline_that_is_due_is_always_decided(
        commands in prop::collection::vec((any_command(), 0u64..50), 0..12)
    ) {
        let mut call = Call { inquiry: Some(Inquiry { at: at(28), asked: 0 }), ..with_webhooks() };
        (call.caller.acks, call.caller.tokens) = (false, vec![SealedToken::new("t")]);
        call.timeouts.lost = 3_600_000;
        let mut now = 0;
        for (command, pause) in commands {
            now += pause;
            if let Ok(Decision { next: Some(next), .. }) = step(&call, &command, at(now)) {
                call = next;
            }
        }
        // However late and however often: expiring ends in a call that is over or has nothing due.
        for _ in 0..24 {
            let Some(deadline) = call.deadline() else { break };
            let now = deadline + Duration::from_secs(1);
            let decided = step(&call, &Command::Expire(PartyPresence::default()), now);
            prop_assert!(decided.is_ok(), "due at {deadline:?} and not decided: {call:?}");
            call = decided.unwrap().next.unwrap();
        }
        prop_assert!(call.deadline().is_none());
    }
}

#[test]
fn what_was_accepted_meanwhile_does_not_give_way_as_a_ring() {
    let give_way = |accepted| Command::GiveWay { by: Role::Callee, accepted };
    assert_eq!(outcome(&ringing(), &give_way(false), 5), "busy, both told");
    assert_eq!(outcome(&active(), &give_way(false), 5), "NotDue");
    assert_eq!(outcome(&active(), &give_way(true), 5), "hung_up by Some(Callee), caller told");
    assert_eq!(outcome(&ringing(), &give_way(true), 5), "NotDue");
}

/// Two calls on one line, after a loss of the store: the order in which they are looked at changes nothing.
#[test]
fn of_two_calls_on_a_line_the_one_taken_up_last_goes_on() {
    let (ana, bo) = (user("ana"), user("bo"));
    let later = |call: Call, caller: &str, callee: &str| {
        let mut call = Call { id: CallId::parse("later").unwrap(), order: 2, ..call };
        (call.caller.user, call.callee.user) = (user(caller), user(callee));
        call
    };
    let over = |call: &Call| after(call, Command::Dismiss { reason: None }, 200);
    // Its caller began another: whatever it was, it is over.
    for old in [trying(), ringing(), active()] {
        for new in [later(trying(), "ana", "cleo"), later(active(), "ana", "cleo")] {
            assert!(gives_way(&old, &new, &ana) && !gives_way(&new, &old, &ana));
            assert!(
                gives_way(&old, &Call { version: new.version.next(1), ..over(&new) }, &ana),
                "that one is over too"
            );
        }
        // He accepted another.
        let accepted = later(active(), "cleo", "bo");
        assert!(gives_way(&old, &accepted, &bo) && !gives_way(&accepted, &old, &bo));
        // A stranger rings him: he would have been told busy.
        let stranger = later(ringing(), "cleo", "bo");
        assert!(!gives_way(&old, &stranger, &bo) && gives_way(&stranger, &old, &bo));
        assert!(!gives_way(&old, &over(&stranger), &bo), "it rang in vain");
        // Refused at once.
        let refused = Call { version: Version { counter: 1, nonce: 1 }, ..over(&later(trying(), "ana", "cleo")) };
        assert!(!gives_way(&old, &refused, &ana));
        assert!(!gives_way(&later(active(), "cleo", "bo"), &over(&old), &bo), "what was before is past");
    }
}

/// Who was told that his call could not be made has none, unless he dialled it once more.
#[test]
fn a_call_that_was_refused_is_withdrawn_by_its_nonce() {
    let born = Call { born: 7, ..trying() };
    let withdraw = |nonce| Command::Withdraw { nonce };
    let withdrawn = after(&born, withdraw(7), 3);
    assert_eq!(withdrawn.end().map(|end| (end.reason, end.by.clone())), Some((EndReason::Cancelled, None)));
    let told = |session: Option<&SessionId>| notifications(&withdrawn, Role::Caller, &Device::Unknown, session);
    assert_eq!(told(born.caller.session.as_ref()), [], "he was refused");
    let another = SessionId::from_random(8);
    assert_eq!(told(Some(&another)), [Notification::Timeout], "he came back, and was told that it rings");
    assert!(callbacks(Some(&born), &withdrawn).is_none(), "the backend knows of the ring, and rings on by push");
    assert!(step(&born, &withdraw(8), at(3)).is_err(), "another's");
    // Dialled once more: the call goes with the last of its dials.
    let dial =
        |nonce| Command::Initiate { by: ana(), receiver: user("bo"), call_type: None, ring_details: None, nonce };
    let again = after(&born, dial(9), 2);
    assert_eq!(step(&again, &dial(9), at(3)).unwrap().next, None, "which is a repeat from then on");
    assert_eq!(step(&again, &dial(7), at(3)).unwrap().next, None, "the first one's");
    for (first, last) in [(7, 9), (9, 7)] {
        let left = after(&again, withdraw(first), 3);
        assert!(left.is_ringing(), "the other was told that it rings");
        assert!(step(&left, &withdraw(first), at(4)).is_err(), "once");
        assert!(after(&left, withdraw(last), 4).end().is_some());
    }
    let many = (10..30).fold(born.clone(), |call, nonce| {
        let dialled = step(&call, &dial(nonce), at(2)).unwrap().next;
        dialled.unwrap_or(call)
    });
    assert!((7..30).all(|nonce| step(&many, &withdraw(nonce), at(3)).is_err()), "too many to be told apart");
    // Answered meanwhile: who answered must not be left alone with the clock running.
    let accepted = after(&born, Command::Accept { by: bo() }, 2);
    let alone = after(&accepted, withdraw(7), 3);
    let by_nobody = EndReason::HungUp { by: None, accept_missed: false };
    assert_eq!(alone.end().map(|end| end.reason), Some(by_nobody));
    let told = |role| {
        notifications(&alone, role, &Device::Unknown, None).into_iter().map(|told| told.kind()).collect::<Vec<_>>()
    };
    assert_eq!(
        (told(Role::Caller), told(Role::Callee)),
        (vec![NotificationKind::Ended], vec![NotificationKind::Ended])
    );
    assert!(step(&accepted, &withdraw(8), at(3)).is_err(), "another's");
}

/// A session whose end is found out late does not make its user absent before he dialled from another one.
#[test]
fn an_absence_begins_no_earlier_than_its_call() {
    let call = trying();
    let since = |call: &Call, role| call.party(role).absent_since;
    let long_ago = Timestamp::from_millis(call.created_at.as_millis() - 9_000);
    let left = after(&call, Command::Leave { role: Role::Caller, at: long_ago, acks: false, found: long_ago }, 1);
    assert_eq!(since(&left, Role::Caller), Some(call.created_at));
    let left = after(&active(), Command::Leave { role: Role::Callee, at: long_ago, acks: false, found: long_ago }, 20);
    assert_eq!(since(&left, Role::Callee), active().accepted_at());
}

/// The clocks of two nodes are never quite the same: whatever the next one says, a call goes forward.
#[test]
fn no_turn_of_a_call_is_earlier_than_the_one_before() {
    let late = |call: &Call, by: u64| Timestamp::from_millis(call.not_before(at(0)).as_millis() - by);
    let next = |call: &Call, command: Command| step(call, &command, late(call, 10)).unwrap().next.unwrap();
    let cancel = || Command::Cancel { by: ana(), reason: None };
    assert_eq!(next(&trying(), Command::Alert { by: bo() }).rang_at, Some(at(0)));
    assert_eq!(next(&trying(), Command::Accept { by: bo() }).accepted_at(), Some(at(0)));
    assert_eq!(next(&ringing(), Command::Accept { by: bo() }).accepted_at(), Some(at(1)));
    for (call, turned_at) in [(trying(), at(0)), (ringing(), at(1)), (active(), at(2))] {
        let over = next(&call, cancel());
        assert_eq!(over.end().map(|end| end.at), Some(turned_at), "{}", call.state.name());
        let lost = call.ended(EndReason::Busy, None, None, late(&call, 10));
        assert_eq!(lost.end().map(|end| end.at), Some(turned_at), "{}", call.state.name());
    }
    let over = next(&active(), cancel());
    assert_eq!((over.duration(), over.talk()), (Some(Duration::ZERO), Some(Duration::ZERO)));
    let asked = next(&active(), Command::RequestVideo { by: bo() });
    assert_eq!(asked.request().map(|request| request.at), Some(at(2)));
    let asked = after(&active(), Command::RequestVideo { by: bo() }, 4);
    let on_video = next(&asked, Command::AnswerVideo { by: ana(), accepted: true, reason: None });
    assert_eq!(on_video.changes().last().map(|change| change.at), Some(at(4)));
    assert_eq!(next(&on_video, cancel()).end().map(|end| end.at), Some(at(4)));
    let cancelled = after(&ringing(), cancel(), 3);
    let late_accept =
        step(&cancelled, &Command::Accept { by: bo() }, late(&cancelled, 10)).unwrap_err().record.unwrap();
    assert_eq!(late_accept.end().and_then(|end| end.late_accept.as_ref()).map(|late| late.at), Some(at(3)));
}

/// While nobody knows who is registered no absence is judged; the ring ends in its time all the same.
#[test]
fn no_absence_is_judged_while_it_is_unsure_who_is_there() {
    let unsure = Command::Expire(PartyPresence { unsure: true, ..PartyPresence::default() });
    let away = after(&trying(), Command::Leave { role: Role::Caller, at: at(1), acks: false, found: at(1) }, 1);
    let grace = away.caller.grace_until.unwrap();
    assert!(step(&away, &unsure, grace).is_err(), "offered again");
    let sure = step(&away, &Command::Expire(PartyPresence::default()), grace).unwrap().next.unwrap();
    assert_eq!(sure.end().map(|end| end.reason), Some(EndReason::CallerGone));
    let over = step(&away, &unsure, away.ring_until).unwrap().next.unwrap();
    assert_eq!(over.end().map(|end| end.reason), Some(EndReason::NoAnswer));
    let away = after(&active(), Command::Leave { role: Role::Callee, at: at(20), acks: false, found: at(20) }, 20);
    assert!(step(&away, &unsure, away.callee.grace_until.unwrap()).is_err());
}
