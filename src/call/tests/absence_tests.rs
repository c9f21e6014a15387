//! Phones without `acks`: a lost socket is not a dead phone, and two are not two.

use super::*;

fn away() -> Command {
    Command::Expire(PartyPresence::default())
}

/// An accepted call of two phones of the deployed app.
fn deployed() -> Call {
    let mut call = active();
    call.caller.acks = false;
    call.callee.acks = false;
    call
}

fn leaves(call: &Call, role: Role, seconds: u64) -> Call {
    after(call, Command::Leave { role, at: at(seconds), acks: false, found: at(seconds) }, seconds)
}

/// The caller left at 10, the callee at 20, both graces are over.
fn both_away(call: &Call) -> Call {
    let gone = leaves(&leaves(call, Role::Caller, 10), Role::Callee, 20);
    let doubtful = after(&gone, away(), 70);
    assert!(!doubtful.are_both_away(), "the callee still has his grace");
    after(&doubtful, away(), 80)
}

fn with_token(mut call: Call) -> Call {
    call.callee.tokens = vec![SealedToken::new("t")];
    call
}

fn is_doubtful(call: &Call) -> bool {
    matches!(call.state, State::Active { doubtful: true, .. })
}

/// Every cell of the table that differs where both are away and neither promised `acks`; all others are as for one
/// that is only doubtful.
#[test]
fn two_lost_sockets_are_not_two_dead_phones() {
    let call = both_away(&deployed());
    assert!(is_doubtful(&call) && call.are_both_away());
    assert_eq!((call.lost_at, call.inquiry), (Some(at(620)), None), "ten minutes after the second left");
    assert_eq!(call.deadline(), Some(at(620)));
    assert_eq!(outcome(&call, &away(), 619), "NotDue");
    assert_eq!(outcome(&call, &away(), 620), "lost, both told");
    let mass_disconnect = Command::Expire(PartyPresence { mass_disconnect: true, ..PartyPresence::default() });
    assert_eq!(outcome(&call, &mass_disconnect, 620), "lost, both told", "he had his time");
    // Whoever is seen is back, whatever became of the word of it.
    for (seen, role) in [
        (PartyPresence { caller_present: true, ..PartyPresence::default() }, Role::Caller),
        (PartyPresence { callee_present: true, ..PartyPresence::default() }, Role::Callee),
    ] {
        let back = after(&call, Command::Expire(seen), 620);
        assert_eq!(back, after(&call, Command::Return { role }, 620));
        assert!(is_doubtful(&back), "the other is still away");
        assert_eq!((back.lost_at, back.inquiry, back.party(role).absent_since), (None, None, None));
        assert_eq!(back.deadline(), Some(at(14_402)), "one who is away ends nothing");
    }
    let back =
        after(&after(&call, Command::Return { role: Role::Caller }, 75), Command::Return { role: Role::Callee }, 76);
    assert!(!is_doubtful(&back));
    let again = after(&leaves(&leaves(&back, Role::Callee, 1000), Role::Caller, 1000), away(), 1060);
    assert_eq!(after(&again, away(), 1060).lost_at, Some(at(1600)), "the time begins anew");

    let commands: [(Command, &str); 17] = [
        (initiate(ana()), "as before"),
        (Command::Alert { by: bo() }, "InvalidState"),
        (Command::Accept { by: bo() }, "as before"),
        (Command::Accept { by: over_http("bo") }, "as before"),
        (Command::Reject { by: over_http("bo"), reason: None }, "hung_up by Some(Callee), caller told"),
        (Command::Cancel { by: over_http("ana"), reason: None }, "hung_up by Some(Caller), callee told"),
        (Command::End { by: over_http("bo"), reason: None }, "hung_up by Some(Callee), caller told"),
        (Command::Dismiss { reason: None }, "hung_up by None, both told"),
        (Command::Displace { by: Role::Caller }, "lost, both told"),
        (Command::Preempt { by: Role::Callee }, "lost, both told"),
        (Command::Leave { role: Role::Caller, at: at(90), acks: false, found: at(90) }, "NotDue"),
        (Command::Leave { role: Role::Callee, at: at(90), acks: false, found: at(90) }, "NotDue"),
        (Command::Return { role: Role::Caller }, "active"),
        (Command::Push, "NotDue"),
        (Command::Verify, "active"),
        (Command::KeepDeadline, "NotDue"),
        (Command::Report, "NotDue"),
    ];
    for (command, expected) in &commands {
        assert_eq!(outcome(&call, command, 90), *expected, "{}", command.name());
    }
}

/// While no node was there to come back to, nobody was late: the time counts from when somebody could judge.
#[test]
fn phones_have_their_time_after_an_outage_of_all_nodes() {
    let gone = leaves(&leaves(&deployed(), Role::Caller, 10), Role::Callee, 10);
    let judged = after(&after(&gone, away(), 1000), away(), 1000);
    assert_eq!(judged.lost_at, Some(at(1540)));
    let mut hasty = gone.clone();
    hasty.timeouts.lost = 1_000;
    let hasty = after(&after(&hasty, away(), 70), away(), 70);
    assert_eq!((hasty.lost_at, outcome(&hasty, &away(), 70).as_str()), (Some(at(70)), "lost, both told"));
}

/// Once a minute, ten times at most, by whoever fires the stored deadline.
#[test]
fn the_backend_is_asked_whether_it_goes_on() {
    let mut call = with_token(deployed());
    call.timeouts.lost = 3_600_000;
    let mut call = both_away(&call);
    for asked in 1..=10 {
        let next = 80 + u64::from(asked) * 60;
        assert_eq!(call.inquiry, Some(Inquiry { at: at(next), asked }));
        assert_eq!(call.deadline(), Some(at(next)));
        assert_eq!(outcome(&call, &away(), next - 1), "NotDue");
        call = after(&call, away(), next);
    }
    assert_eq!((call.inquiry, call.deadline()), (None, Some(at(80 + 3540))));
    let back = Command::Return { role: Role::Caller };
    assert_eq!(after(&both_away(&with_token(deployed())), back, 100).inquiry, None, "he can be asked himself");
    let over = after(&both_away(&with_token(deployed())), Command::Dismiss { reason: None }, 100);
    assert_eq!((over.inquiry, over.lost_at, over.deadline()), (None, None, None));
}

#[test]
fn one_who_promised_acks_and_is_away_ends_the_call() {
    for role in [Role::Caller, Role::Callee] {
        let mut mixed = deployed();
        mixed.party_mut(role).acks = true;
        let gone = leaves(&leaves(&mixed, Role::Caller, 10), Role::Callee, 10);
        let first = step(&gone, &away(), at(70)).unwrap().next.unwrap();
        let ended = if first.is_live() { after(&first, away(), 70) } else { first };
        assert_eq!(ended.end().unwrap().reason, EndReason::Lost { party: role });
        let other = leaves(&mixed, role.other(), 10);
        assert_eq!(outcome(&other, &away(), 70), "active", "without a promise nothing is proven");
    }
}

#[test]
fn the_maximum_ends_a_call_of_which_nobody_is_there() {
    let limit = 2 + 14_400;
    let mut late = both_away(&deployed());
    late.lost_at = Some(at(limit + 100));
    assert_eq!(outcome(&late, &away(), limit), "max_duration, both told");
    let mut alone = leaves(&deployed(), Role::Caller, 10);
    alone.callee.attended = false;
    let alone = after(&alone, away(), 70);
    assert_eq!(outcome(&alone, &away(), limit), "max_duration, both told", "the other never had a socket");
    let one = after(&leaves(&deployed(), Role::Caller, 10), away(), 70);
    assert_eq!(outcome(&one, &away(), limit), "active", "the other is there");
}

/// Doubt about one goes when he is back, though the other has just left: he has his grace.
#[test]
fn a_grace_is_no_doubt() {
    let doubtful = after(&leaves(&deployed(), Role::Caller, 10), away(), 70);
    let back = after(&leaves(&doubtful, Role::Callee, 80), Command::Return { role: Role::Caller }, 81);
    assert!(!is_doubtful(&back));
    assert_eq!(back.deadline(), Some(at(140)));
}

#[test]
fn what_a_doubtful_line_yields_to() {
    let one = after(&leaves(&deployed(), Role::Caller, 10), away(), 70);
    let just_left = leaves(&one, Role::Callee, 75);
    let both = both_away(&deployed());
    let cleo = || actor("cleo", Device::Unnamed);
    let cases = [
        (&one, cleo(), "bo", Contention::Busy),
        (&one, cleo(), "ana", Contention::Busy),
        (&one, bo(), "cleo", Contention::Displace(Role::Callee)),
        (&one, ana(), "cleo", Contention::Displace(Role::Caller)),
        (&just_left, cleo(), "bo", Contention::Busy),
        (&both, cleo(), "bo", Contention::Displace(Role::Callee)),
        (&both, cleo(), "ana", Contention::Displace(Role::Caller)),
        (&both, ana(), "cleo", Contention::Displace(Role::Caller)),
    ];
    for (line, dialer, receiver, expected) in cases {
        assert_eq!(contend(line, &dialer, &user(receiver)), expected, "{} dials {receiver}", dialer.user);
    }
    // Decided anew when it is written: one of both is back since the stranger saw that both were away.
    let new_call = Command::Yield { dialer: cleo(), receiver: user("bo") };
    assert_eq!(outcome(&both, &new_call, 90), "lost, both told");
    let back = after(&both, Command::Return { role: Role::Caller }, 85);
    assert_eq!(outcome(&back, &new_call, 90), "NotDue");
}

#[test]
fn talk_ends_with_the_last_moment_both_were_there() {
    let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs());
    let told = |call: &Call| (seconds(call.duration()), seconds(call.talk()), call.absent_since());
    let hang_up = Command::End { by: bo(), reason: None };
    assert_eq!(told(&active()), (None, None, None), "it goes on");
    assert_eq!(told(&after(&active(), hang_up.clone(), 100)), (Some(98), Some(98), None));
    let gone = leaves(&active(), Role::Caller, 10);
    assert_eq!(told(&after(&gone, away(), 70)), (Some(68), Some(8), Some(at(10))));
    assert_eq!(told(&after(&gone, hang_up.clone(), 50)), (Some(48), Some(8), Some(at(10))), "his peer gave up on him");
    let back = after(&gone, Command::Return { role: Role::Caller }, 40);
    assert_eq!(told(&after(&back, hang_up.clone(), 100)), (Some(98), Some(98), None), "he came back");
    let lost = after(&both_away(&deployed()), away(), 620);
    assert_eq!(told(&lost), (Some(618), Some(8), Some(at(10))), "since the first of both left");
    // Without acks a lost socket does not shorten what was hung up by somebody: they talked.
    let one = after(&leaves(&deployed(), Role::Caller, 10), away(), 70);
    assert_eq!(told(&after(&one, hang_up, 1000)), (Some(998), Some(998), None));
    let row = after(&both_away(&deployed()), Command::Dismiss { reason: None }, 300);
    assert_eq!(told(&row), (Some(298), Some(298), None));
    // He left before it was accepted.
    let early = after(&leaves(&ringing(), Role::Caller, 1), Command::Accept { by: bo() }, 5);
    assert_eq!(told(&after(&early, away(), 61)), (Some(56), Some(0), Some(at(1))));
    let cancelled = after(&leaves(&ringing(), Role::Caller, 3), away(), 13);
    assert_eq!(told(&cancelled), (None, None, Some(at(3))), "never accepted");
}

#[test]
fn an_end_that_nobody_said_is_presumed() {
    let lost = after(&both_away(&deployed()), away(), 620);
    assert!(lost.is_presumed_over() && lost.may_go_on_with(&user("ana")) && lost.may_go_on_with(&user("bo")));
    assert!(!lost.may_go_on_with(&user("cleo")));
    let left_alone = after(&leaves(&active(), Role::Caller, 10), away(), 70);
    assert!(left_alone.is_presumed_over() && !left_alone.may_go_on_with(&user("bo")), "he is told that she is gone");
    let said = after(&both_away(&deployed()), Command::Dismiss { reason: None }, 300);
    assert!(!said.is_presumed_over() && !said.may_go_on_with(&user("ana")), "the backend's row says it");
    assert!(!after(&active(), away(), 14_402).is_presumed_over());
}

/// Who dialled or accepted over HTTP promised nothing by that; what counts is the phone that left.
#[test]
fn a_party_that_came_in_over_http_promises_what_its_phone_does() {
    let leave = |acks| Command::Leave { role: Role::Callee, at: at(10), acks, found: at(10) };
    assert_eq!(outcome(&after(&deployed(), leave(true), 10), &away(), 70), "lost, both told");
    assert!(is_doubtful(&after(&after(&deployed(), leave(false), 10), away(), 70)));
}

/// His node was cut off when he left it. Elsewhere he was there since, and left that node too, for a moment: his ring ended
/// at once.
#[test]
fn an_absence_that_is_found_late_leaves_the_time_to_come_back() {
    let (left, found) = (at(3), at(9));
    for (call, role, grace) in [
        (ringing(), Role::Caller, ringing().timeouts.caller_grace),
        (active(), Role::Callee, active().timeouts.call_grace),
    ] {
        let away = after(&call, Command::Leave { role, at: left, acks: true, found }, 9);
        let away = away.party(role);
        assert!(away.absent_since < Some(found));
        assert_eq!(away.grace_until, Some(found + std::time::Duration::from_millis(grace)));
    }
}
