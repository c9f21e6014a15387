//! Every cause of "why did it not ring?", from a record and its timeline to the sentence.

use std::collections::HashSet;

use super::*;

const NODE: &str = "node-b";

fn milestone(what: What, millis: u64) -> Milestone {
    Milestone::new(what, Timestamp::from_millis(T0 + millis), &NodeId::parse(NODE).unwrap())
}

fn on(what: What, millis: u64, device: Device) -> Milestone {
    milestone(what, millis).of(Role::Callee, device)
}

fn delivered(millis: u64) -> Milestone {
    on(What::Delivered, millis, named("b1"))
}

fn without_acks(millis: u64, device: Device) -> Milestone {
    on(What::Delivered, millis, device).because(NO_ACKS)
}

fn after(call: Call, command: Command, seconds: u64) -> Call {
    match step(&call, &command, at(seconds)) {
        Ok(Decision { next: Some(next), .. }) => next,
        other => panic!("{command:?} changes nothing: {other:?}"),
    }
}

fn over(reason: EndReason, seconds: u64) -> Call {
    trying().ended(reason, None, None, at(seconds))
}

fn rang() -> Call {
    Call { rang_at: Some(Timestamp::from_millis(T0 + 180)), state: State::Ringing, ..trying() }
}

fn rang_over(reason: EndReason, seconds: u64) -> Call {
    rang().ended(reason, None, None, at(seconds))
}

fn pushed(call: Call, push: Push) -> Call {
    Call { push, ..call }
}

fn rings() -> Vec<Milestone> {
    vec![milestone(What::Created, 0), delivered(4), on(What::Ringing, 180, named("b1"))]
}

/// The cause, the record, what the timeline has, and what a person is told.
fn table() -> Vec<(Cause, Call, Vec<Milestone>, &'static str)> {
    use Cause::*;
    let accept = Command::Accept { by: bo() };
    let asked = Push::Asked(Timestamp::from_millis(T0 + 40));
    let missed = EndReason::HungUp { by: None, accept_missed: true };
    vec![
        (
            Answered,
            after(rang(), accept.clone(), 7),
            [rings(), vec![on(What::Accepted, 7000, named("b1"))]].concat(),
            "It rang, and bo answered after 7.0 s on device b1, at node node-b.",
        ),
        (
            Answered,
            after(trying(), Command::Accept { by: over_http("bo") }, 7),
            vec![on(What::Accepted, 7000, Device::Unknown)],
            "bo answered after 7.0 s, over the backend.",
        ),
        (Answered, after(trying(), accept, 7), vec![], "It rang, and bo answered after 7.0 s on device b1."),
        (
            AnsweredUnheard,
            over(missed, 9),
            vec![delivered(4)],
            "Whether it rang is not known: the backend ended it as a call that bo had answered, and that answer never \
             came to this cluster.",
        ),
        (
            Rejected,
            after(rang(), Command::Reject { by: bo(), reason: None }, 3),
            rings(),
            "It rang, and bo rejected it after 3.0 s on device b1.",
        ),
        (
            Rejected,
            after(trying(), Command::Reject { by: over_http("bo"), reason: None }, 3),
            vec![without_acks(4, named("b1"))],
            "It rang, and bo rejected it after 3.0 s, over the backend.",
        ),
        (Rings, rang(), rings(), "It rings: device b1 of bo at node node-b confirmed it after 180 ms."),
        (
            RangUnanswered,
            rang_over(EndReason::NoAnswer, 30),
            rings(),
            "It rang, and nobody answered: device b1 of bo at node node-b confirmed it after 180 ms, and the ring's time \
             was up after 30.0 s.",
        ),
        (
            Withdrawn,
            after(rang(), Command::Cancel { by: ana(), reason: None }, 5),
            rings(),
            "It rang: device b1 of bo at node node-b confirmed it after 180 ms, and ana cancelled it after 5.0 s.",
        ),
        (
            Withdrawn,
            rang_over(EndReason::CallerGone, 22),
            vec![],
            "It rang: a device of bo confirmed it after 180 ms, and the phone of ana was gone and did not come back \
             after 22.0 s.",
        ),
        (
            Withdrawn,
            rang_over(EndReason::Superseded, 2),
            rings(),
            "It rang: device b1 of bo at node node-b confirmed it after 180 ms, and ana dialled another call after 2.0 s.",
        ),
        (
            Withdrawn,
            rang_over(EndReason::Busy, 2),
            rings(),
            "It rang: device b1 of bo at node node-b confirmed it after 180 ms, and it gave way to another call after \
             2.0 s.",
        ),
        (
            Busy,
            over(EndReason::Busy, 0),
            vec![milestone(What::Created, 0)],
            "It did not ring: ana or bo was in another call, so nobody was rung.",
        ),
        (
            OverBefore,
            over(EndReason::Cancelled, 0),
            vec![milestone(What::Created, 0)],
            "It did not ring: word that it was over (cancelled) had come before the call itself.",
        ),
        (OverBefore, over(EndReason::Rejected, 0), vec![], {
            "It did not ring: word that it was over (rejected) had come before the call itself."
        }),
        (NotYet, trying(), vec![delivered(29_000)], "It began 30.0 s ago, and no device of bo has confirmed yet."),
        (
            TooShort,
            over(EndReason::Cancelled, 1),
            vec![delivered(4)],
            "It did not ring, as far as is known: ana cancelled it after 1.0 s, before a device of bo could confirm.",
        ),
        (
            TooShort,
            over(EndReason::HungUp { by: None, accept_missed: false }, 1),
            vec![],
            "It did not ring, as far as is known: the backend ended it after 1.0 s, before a device of bo could confirm.",
        ),
        (
            CannotConfirm,
            over(EndReason::NoAnswer, 30),
            vec![without_acks(4, Device::Unnamed)],
            "Whether it rang is not known: a device of bo at node node-b was told, and the app there promises no \
             acknowledgements.",
        ),
        (
            Unconfirmed,
            pushed(over(EndReason::NoAnswer, 30), Push::Asked(at(2))),
            vec![delivered(4), without_acks(5, named("b2")), delivered(7004)],
            "It did not ring: device b1 of bo at node node-b and device b2 of bo at node node-b were told, and none \
             confirmed, so the connection was dead or the app asleep; a push was asked for after 2.0 s.",
        ),
        (
            NotReading,
            over(EndReason::NoAnswer, 30),
            vec![delivered(4), on(What::Deaf, 7004, named("b1"))],
            "It did not ring: the connection of device b1 of bo at node node-b no longer took anything, and was closed; \
             no push was asked for by webhook, so the app's backend has to send one.",
        ),
        (
            NotReading,
            pushed(trying(), Push::Due(at(9))),
            vec![on(What::Deaf, 4, Device::Unnamed)],
            "It did not ring: the connection of a device of bo at node node-b no longer took anything, and was closed; a \
             push was due, and not asked for.",
        ),
        (
            Undelivered,
            over(EndReason::NoAnswer, 30),
            vec![milestone(What::Created, 0), milestone(What::Undelivered, 3000)],
            "It did not ring: node node-b, where a phone of bo was connected, did not hear of the call.",
        ),
        (
            NoPhone,
            over(EndReason::NoAnswer, 30),
            vec![milestone(What::Created, 0), on(What::NoSession, 3, Device::Unknown)],
            "It did not ring: bo had no phone connected; no push was asked for by webhook, so the app's backend has to \
             send one.",
        ),
        (
            PushUnanswered,
            pushed(over(EndReason::NoAnswer, 30), asked),
            vec![on(What::NoSession, 3, Device::Unknown)],
            "It did not ring: bo had no phone connected; a push was asked for after 40 ms, and no phone came.",
        ),
        (
            PushUnanswered,
            trying(),
            vec![on(What::NoSession, 3, Device::Unknown), milestone(What::PushRequired, 90_000)],
            "It did not ring: bo had no phone connected; a push was asked for after 1 min 30 s, and no phone came.",
        ),
        (
            HistoryLost,
            over(EndReason::NoAnswer, 30),
            vec![milestone(What::Restored, 9000)],
            "Whether it rang is not known: the store lost this call and a node put it back, without what became of bo's \
             phones.",
        ),
        (
            Unknown,
            over(EndReason::NoAnswer, 30),
            vec![],
            "Whether it rang is not known: nothing is recorded of a phone of bo.",
        ),
    ]
}

#[test]
fn each_cause_has_its_sentence() {
    let mut seen = HashSet::new();
    for (cause, call, timeline, sentence) in table() {
        let found = why(&call, &timeline, at(30));
        assert_eq!((found.cause, found.sentence.as_str()), (cause, sentence));
        seen.insert(cause);
    }
    for cause in Cause::ALL {
        assert!(seen.contains(&cause), "{} has no row", cause.name());
    }
    let names: HashSet<&str> = Cause::ALL.into_iter().map(Cause::name).collect();
    assert_eq!(names.len(), Cause::ALL.len(), "each has a name of its own");
}

/// Whatever a phone did last counts: a session that came by push makes "no phone" untrue.
#[test]
fn a_phone_that_was_woken_counts() {
    let timeline = vec![on(What::NoSession, 3, Device::Unknown), milestone(What::PushRequired, 40), delivered(5000)];
    assert_eq!(why(&over(EndReason::NoAnswer, 30), &timeline, at(40)).cause, Cause::Unconfirmed);
    let timeline = [timeline, vec![on(What::Ringing, 5100, named("b1"))]].concat();
    assert_eq!(why(&rang_over(EndReason::NoAnswer, 30), &timeline, at(40)).cause, Cause::RangUnanswered);
}

/// What a newer version wrote is read past, and no text that a phone chose is repeated.
#[test]
fn texts_of_phones_stay_out() {
    let foreign: Milestone =
        serde_json::from_value(serde_json::json!({"at": T0 + 5, "what": "yodelled", "reason": "loudly"})).unwrap();
    let by = Command::Reject { by: bo(), reason: Some("my secret".into()) };
    let told = why(&after(rang(), by, 3), std::slice::from_ref(&foreign), at(9)).sentence;
    assert!(!told.contains("secret"), "{told}");
    assert_eq!(why(&over(EndReason::NoAnswer, 30), &[foreign], at(40)).cause, Cause::Unknown);
}

proptest! {
    /// One sentence, whatever the timeline has.
    #[test]
    fn there_is_always_one_sentence(
        whats in proptest::collection::vec((0_usize..8, 0_u64..40_000), 0..12),
        state in 0_usize..4,
    ) {
        const WHATS: [What; 8] = [
            What::Created, What::NoSession, What::Delivered, What::Deaf, What::Undelivered, What::Ringing,
            What::PushRequired, What::Restored,
        ];
        let call = [trying(), rang(), over(EndReason::NoAnswer, 30), rang_over(EndReason::Cancelled, 3)][state].clone();
        let timeline: Vec<Milestone> = whats.into_iter().map(|(what, at)| on(WHATS[what], at, named("b1"))).collect();
        let found = why(&call, &timeline, at(40));
        prop_assert!(found.sentence.ends_with('.') && !found.sentence.contains('\n') && found.sentence.len() < 400);
        let rang_itself = [Cause::Rings, Cause::RangUnanswered, Cause::Withdrawn].contains(&found.cause);
        prop_assert_eq!(rang_itself, call.rang_at.is_some());
    }
}
