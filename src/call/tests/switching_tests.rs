//! Every cell of request, answer and return to audio, and what the parties, the backend and the timeline learn of it.

use proptest::test_runner::TestCaseError;

use super::*;

fn video(by: Actor) -> Command {
    Command::RequestVideo { by }
}

fn answer(by: Actor, accepted: bool) -> Command {
    Command::AnswerVideo { by, accepted, reason: None }
}

fn downgrade(by: Actor) -> Command {
    Command::Downgrade { by }
}

fn asked_by_ana() -> Call {
    after(&active(), video(ana()), 3)
}

fn on_video() -> Call {
    after(&asked_by_ana(), answer(bo(), true), 4)
}

/// What came of a command: the type, whether a request is open, who is told.
fn came_of(call: &Call, command: &Command, now: u64) -> String {
    match step(call, command, at(now)) {
        Ok(Decision { next: None, .. }) => "as before".into(),
        Ok(Decision { next: Some(next), tell_caller, tell_callee }) => {
            let told = match (tell_caller, tell_callee) {
                (true, true) => "both told",
                (true, false) => "caller told",
                (false, true) => "callee told",
                (false, false) => "quiet",
            };
            let open = if next.request().is_some() { " asked" } else { "" };
            format!("{}{open}, {told}", next.call_type.as_deref().unwrap_or("-"))
        }
        Err(refused) => format!("{:?}", refused.refusal),
    }
}

#[test]
fn every_cell_of_the_switch() {
    let cancelled = after(&ringing(), Command::Cancel { by: ana(), reason: None }, 3);
    let hung_up = after(&asked_by_ana(), Command::End { by: ana(), reason: None }, 4);
    let calls = [trying(), ringing(), active(), doubtful(), asked_by_ana(), on_video(), cancelled, hung_up];
    let stranger = || actor("eve", named("e1"));
    let other_phone = |name| actor(name, named("x9"));
    const NO: &str = "InvalidState";
    const ELSEWHERE: &str = "AnsweredElsewhere";
    // columns: trying, ringing, active, doubtful, asked by the caller, switched to video, cancelled, hung up
    let table: Vec<(&str, Command, [&str; 8])> = vec![
        (
            "the caller asks",
            video(ana()),
            [NO, NO, "AUDIO asked, callee told", "AUDIO asked, callee told", "as before", "as before", NO, NO],
        ),
        (
            "the callee asks",
            video(bo()),
            [NO, NO, "AUDIO asked, caller told", "AUDIO asked, caller told", "VIDEO, both told", NO, NO, NO],
        ),
        ("the callee says yes", answer(bo(), true), [NO, NO, NO, NO, "VIDEO, caller told", "as before", NO, NO]),
        ("the callee says no", answer(bo(), false), [NO, NO, NO, NO, "AUDIO, caller told", NO, NO, NO]),
        ("the caller answers himself", answer(ana(), true), [NO; 8]),
        ("the caller answers no himself", answer(ana(), false), [NO; 8]),
        ("the caller goes back", downgrade(ana()), [NO, NO, NO, NO, NO, "AUDIO, callee told", NO, NO]),
        ("the callee goes back", downgrade(bo()), [NO, NO, NO, NO, NO, "AUDIO, caller told", NO, NO]),
        (
            "another phone of the caller asks",
            video(other_phone("ana")),
            [NO, NO, ELSEWHERE, ELSEWHERE, ELSEWHERE, ELSEWHERE, NO, NO],
        ),
        (
            "another phone of the callee answers",
            answer(other_phone("bo"), true),
            [NO, NO, ELSEWHERE, ELSEWHERE, ELSEWHERE, ELSEWHERE, NO, NO],
        ),
        (
            "another phone goes back",
            downgrade(other_phone("bo")),
            [NO, NO, ELSEWHERE, ELSEWHERE, ELSEWHERE, ELSEWHERE, NO, NO],
        ),
        ("a stranger asks", video(stranger()), ["NotAParticipant"; 8]),
        ("a stranger answers", answer(stranger(), true), ["NotAParticipant"; 8]),
        ("a stranger goes back", downgrade(stranger()), ["NotAParticipant"; 8]),
    ];
    for (what, command, expected) in &table {
        for (place, (call, expected)) in calls.iter().zip(expected).enumerate() {
            assert_eq!(came_of(call, command, 5), *expected, "{what}, column {place}");
        }
    }
    // A call that was dialled as video goes back without having been asked for; one of a type that nobody named is asked.
    let dialled = Call { call_type: Some("video".into()), ..active() };
    assert_eq!(came_of(&dialled, &video(ana()), 5), NO);
    assert_eq!(came_of(&dialled, &downgrade(ana()), 5), "AUDIO, callee told");
    let untold = Call { call_type: None, ..active_over_http() };
    assert_eq!(came_of(&untold, &video(bo()), 5), "- asked, caller told");
    assert_eq!(came_of(&untold, &downgrade(bo()), 5), NO);
    // Both go back at once, and once more.
    let back = after(&on_video(), downgrade(ana()), 6);
    assert_eq!([downgrade(ana()), downgrade(bo())].map(|command| came_of(&back, &command, 7)), ["as before"; 2]);
    // The repeat of an answer, and its contrary.
    let declined = after(&asked_by_ana(), answer(bo(), false), 4);
    assert_eq!([true, false].map(|yes| came_of(&declined, &answer(bo(), yes), 5)), [NO, "as before"]);
    assert_eq!(came_of(&declined, &video(ana()), 5), "AUDIO asked, callee told", "asked again");
    let both = after(&asked_by_ana(), video(bo()), 4);
    assert_eq!([video(ana()), video(bo()), answer(ana(), true)].map(|said| came_of(&both, &said, 5)), ["as before"; 3]);
    assert_eq!(came_of(&both, &answer(bo(), false), 5), NO, "he wanted it himself");
}

#[test]
fn an_open_request_has_a_stored_deadline() {
    let expire = Command::Expire(PartyPresence::default());
    let asked = asked_by_ana();
    assert_eq!(asked.deadline(), Some(at(33)));
    assert_eq!(came_of(&asked, &expire, 32), "NotDue");
    let refused = after(&asked, expire.clone(), 33);
    assert_eq!((refused.last_answer().unwrap().refused, refused.request()), (Some(NoVideo::NoAnswer), None));
    assert_eq!(came_of(&asked, &expire, 33), "AUDIO, caller told");
    assert_eq!(refused.deadline(), active().deadline());
    assert_eq!(came_of(&refused, &answer(bo(), true), 34), "InvalidState", "too late");
    // A repeat does not prolong it.
    assert_eq!(step(&asked, &video(ana()), at(20)).unwrap(), Decision::unchanged());
}

#[test]
fn who_cannot_be_reached_for_ten_seconds_says_no() {
    let left = |call: &Call, now| {
        after(call, Command::Leave { role: Role::Callee, at: at(now), acks: false, found: at(now) }, now)
    };
    let back = Command::Expire(PartyPresence { callee_present: true, ..PartyPresence::default() });
    let unsure = Command::Expire(PartyPresence { unsure: true, ..PartyPresence::default() });
    let away = Command::Expire(PartyPresence::default());
    let asked = left(&asked_by_ana(), 8);
    assert_eq!(asked.deadline(), Some(at(18)));
    assert_eq!(asked.asks_whether_back(at(17)), None);
    assert_eq!(asked.asks_whether_back(at(18)), Some(Role::Callee));
    let refused = after(&asked, away.clone(), 18);
    assert_eq!(refused.last_answer().unwrap().refused, Some(NoVideo::Unreachable));
    assert!(refused.is_live(), "the call goes on");
    // Away before he was asked, he has as long.
    assert_eq!(after(&left(&active(), 3), video(ana()), 5).deadline(), Some(at(15)));
    // Back in time he still has what is left, whoever notices it.
    let returned = after(&asked, Command::Return { role: Role::Callee }, 12);
    assert_eq!(returned.deadline(), Some(at(33)));
    let seen = after(&asked, back.clone(), 18);
    assert_eq!((seen.deadline(), seen.callee.absent_since), (Some(at(33)), None));
    assert_eq!(after(&asked, back, 33).last_answer().unwrap().refused, Some(NoVideo::NoAnswer), "judged late");
    assert_eq!(came_of(&asked, &unsure, 18), "NotDue", "nobody knows who is there");
    assert!(after(&asked, unsure, 33).request().is_none(), "its time is over all the same");
    // The asker's own absence is no matter of it.
    let alone = after(&asked_by_ana(), Command::Leave { role: Role::Caller, at: at(4), acks: false, found: at(4) }, 4);
    assert_eq!(alone.request_due(), Some(at(33)));
}

#[test]
fn however_the_call_ends_the_request_is_answered() {
    let ends = [
        Command::End { by: ana(), reason: None },
        Command::End { by: bo(), reason: None },
        Command::Cancel { by: ana(), reason: None },
        Command::Reject { by: bo(), reason: None },
        Command::Dismiss { reason: None },
        Command::Displace { by: Role::Caller },
        Command::Preempt { by: Role::Callee },
        Command::Evict { rank: 1 },
    ];
    for end in ends {
        let over = after(&asked_by_ana(), end.clone(), 5);
        assert!(over.request().is_none(), "{end:?}");
        let said = notifications(&over, Role::Caller, &named("a1"), None);
        let expected =
            Notification::UpgradeResponse { number: 1, accepted: false, reason: Some("Call ended".into()), at: at(5) };
        assert_eq!(said.first(), Some(&expected), "{end:?}");
        assert!(
            notifications(&over, Role::Callee, &named("b1"), None)
                .iter()
                .all(|notification| notification.number().is_none()),
            "{end:?}"
        );
    }
}

#[test]
fn what_each_side_hears_of_a_switch() {
    let notified = |call: &Call, role, device: &str| {
        let notifications = notifications(call, role, &named(device), None);
        notifications.into_iter().filter(|notification| notification.number().is_some()).collect::<Vec<_>>()
    };
    let response = |number, reason: Option<&str>, seconds| Notification::UpgradeResponse {
        number,
        accepted: reason.is_none(),
        reason: reason.map(str::to_owned),
        at: at(seconds),
    };
    let asked = asked_by_ana();
    let request = Notification::UpgradeRequest { number: 1, by: user("ana"), until: at(33) };
    assert_eq!(notified(&asked, Role::Callee, "b1"), [request]);
    assert_eq!([notified(&asked, Role::Callee, "b2"), notified(&asked, Role::Caller, "a1")], [vec![], vec![]]);
    assert_eq!(notified(&on_video(), Role::Caller, "a1"), [response(1, None, 4)]);
    assert_eq!(
        [notified(&on_video(), Role::Caller, "a2"), notified(&on_video(), Role::Callee, "b1")],
        [vec![], vec![]]
    );
    let reason = Some("Not now".into());
    let declined = after(&asked, Command::AnswerVideo { by: bo(), accepted: false, reason }, 4);
    assert_eq!(notified(&declined, Role::Caller, "a1"), [response(1, Some("Not now"), 4)]);
    // Asked again: another request, with a number of its own.
    let again = after(&declined, video(ana()), 6);
    assert_eq!(again.request().unwrap().number, 2);
    assert_eq!(notified(&again, Role::Caller, "a1"), [response(1, Some("Not now"), 4)], "until it is answered");
    let both = after(&asked, video(bo()), 4);
    assert_eq!(notified(&both, Role::Caller, "a1"), [response(1, None, 4)]);
    assert_eq!(notified(&both, Role::Callee, "b1"), [response(1, None, 4)]);
    let back = after(&on_video(), downgrade(bo()), 6);
    // Her request was answered first, which she may not have heard.
    let downgraded = Notification::Downgraded { number: 2, by: user("bo"), at: at(6) };
    assert_eq!(notified(&back, Role::Caller, "a1"), [response(1, None, 4), downgraded]);
    assert_eq!(notified(&back, Role::Callee, "b1"), []);
    let own = after(&on_video(), downgrade(ana()), 6);
    assert_eq!(notified(&own, Role::Caller, "a1"), [], "she took it back herself");
    let minute = Duration::from_secs(60);
    // What is old is no news to who comes back; who was there is told it, however late it is found.
    let is_stale_to = |connected_at| response(1, None, 4).is_stale(minute, at(500), connected_at);
    assert!(!is_stale_to(at(2)) && !is_stale_to(at(64)) && is_stale_to(at(65)));
    let request = Notification::UpgradeRequest { number: 1, by: user("ana"), until: at(33) };
    assert!(!request.is_stale(minute, at(32), at(0)) && request.is_stale(minute, at(33), at(0)));
}

#[test]
fn the_backend_is_told_of_each_change_with_a_number_of_its_own() {
    let asked_about = after(&active(), Command::Verify, 3);
    let asked = after(&asked_about, video(ana()), 4);
    let video_on = after(&asked, answer(bo(), true), 5);
    let asked_again = after(&video_on, Command::Verify, 9);
    let back = after(&asked_again, downgrade(bo()), 12);
    let over = after(&back, Command::End { by: ana(), reason: None }, 20);
    let expected = [
        "1 call.initiated",
        "3 call.ringing",
        "4 call.accepted",
        "5 call.verify",
        "6 call.upgraded",
        "7 call.verify",
        "8 call.downgraded",
        "9 call.ended",
    ];
    let steps = [&asked_about, &asked, &video_on, &asked_again, &back, &over];
    assert_eq!(told(&steps), expected);
    // A question right after a change is not too many.
    assert!(step(&video_on, &Command::Verify, at(6)).is_err() && step(&video_on, &Command::Verify, at(8)).is_ok());
    // A node that knows nothing of it numbers the end behind them, under an id that nothing else had.
    let forgotten = Call { switching: None, ..back.clone() };
    let ended = after(&forgotten, Command::End { by: ana(), reason: None }, 20);
    assert_eq!(told(&[&forgotten, &ended]).last().map(String::as_str), Some("9 call.ended"));
    assert_eq!(ended.call_type.as_deref(), Some("AUDIO"));
    // Put back after a loss of the store: every change that the record shows.
    assert_eq!(told(&[&over]), [&expected[..3], &expected[4..5], &expected[6..]].concat());
}

#[test]
fn a_repeated_dial_is_compared_with_the_type_as_it_was_dialled() {
    assert_eq!(outcome(&on_video(), &initiate(ana()), 6), "as before");
    let other = |call_type: &str| Command::Initiate {
        by: ana(),
        receiver: user("bo"),
        call_type: Some(call_type.into()),
        ring_details: None,
        nonce: 0,
    };
    assert_eq!(outcome(&on_video(), &other("VIDEO"), 6), "InvalidState");
}

#[test]
fn neither_the_record_nor_its_history_grows_without_end() {
    let node = NodeId::parse("n1").unwrap();
    let (mut call, mut shown, mut changes) = (active(), 0, 0);
    for round in 0..200 {
        let now = 10 + round * 10;
        let wanted = [video(ana()), answer(bo(), round % 2 == 0), downgrade(bo())];
        for (pause, command) in wanted.into_iter().enumerate() {
            let at = at(now + pause as u64);
            if let Ok(Decision { next: Some(next), .. }) = step(&call, &command, at) {
                shown += milestones(Some(&call), &next, None, at, &node).len();
                changes += next.changes().len() - call.changes().len();
                call = next;
            }
        }
    }
    assert!(changes <= 33 && changes == call.changes().len(), "{changes}");
    assert!(shown <= 60, "{shown} milestones of 64");
    assert!(serde_json::to_string(&call).unwrap().len() < 5_000);
}

#[test]
fn the_timeline_shows_what_was_asked_and_what_came_of_it() {
    let node = NodeId::parse("n1").unwrap();
    let declined = after(&asked_by_ana(), answer(bo(), false), 4);
    let asked_by_bo = after(&declined, video(bo()), 6);
    let video_on = after(&asked_by_bo, answer(ana(), true), 7);
    let back = after(&video_on, downgrade(ana()), 9);
    let steps = [active(), asked_by_ana(), declined, asked_by_bo, video_on, back];
    let shown: Vec<_> = steps
        .windows(2)
        .flat_map(|pair| milestones(Some(&pair[0]), &pair[1], None, at(10), &node))
        .map(|milestone| {
            format!("{} {:?} {}", milestone.what.name(), milestone.party, milestone.reason.unwrap_or_default())
        })
        .collect();
    let expected = [
        "upgrade_requested Some(Caller) ",
        "upgrade_refused Some(Caller) declined",
        "upgrade_requested Some(Callee) ",
        "upgraded Some(Callee) ",
        "downgraded Some(Caller) ",
    ];
    assert_eq!(shown, expected);
}

/// What holds after any command.
pub(super) fn promises(call: &Call, next: &Call, now: Timestamp) -> Result<(), TestCaseError> {
    let is_active = matches!(next.state, State::Active { .. });
    prop_assert!(next.request().is_none() || is_active, "a request outside an accepted call");
    prop_assert!(next.request().is_none() || next.media() != Some(Media::Video), "asked for what it is");
    if let Some(request) = next.request() {
        prop_assert!(request.until <= request.at + Duration::from_secs(30));
        prop_assert!(
            next.deadline().is_some_and(|deadline| deadline <= request.until),
            "a request without its deadline"
        );
    }
    let changed = next.changes().len() - call.changes().len();
    prop_assert!(changed <= 1);
    prop_assert_eq!(changed == 1, next.call_type != call.call_type, "a type without a change");
    if let Some(last) = next.changes().last() {
        prop_assert_eq!(Some(last.to), next.media());
        prop_assert!(changed == 0 || last.at == now);
    }
    // To video only with the word of both, or of both who ask.
    if changed == 1 && next.media() == Some(Media::Video) {
        prop_assert!(call.request().is_some() && next.last_answer().is_some_and(Answer::is_accepted));
    }
    // Whoever asked is answered once nobody is asked any more.
    if let (Some(request), None) = (call.request(), next.request()) {
        let answer = next.last_answer();
        prop_assert!(answer.is_some_and(|answer| answer.number == request.number && answer.is_to(request.by)));
    }
    Ok(())
}

#[test]
fn what_was_talked_is_known_by_type() {
    let talked = |call: &Call| call.talk_shown().into_iter().collect::<Vec<_>>();
    let end = |call: &Call, now| after(call, Command::End { by: ana(), reason: None }, now);
    assert_eq!(talked(&end(&active(), 10)), [("AUDIO", 8_000)]);
    assert_eq!(talked(&end(&on_video(), 10)), [("AUDIO", 2_000), ("VIDEO", 6_000)]);
    let back = after(&on_video(), downgrade(bo()), 7);
    assert_eq!(talked(&end(&back, 10)), [("AUDIO", 5_000), ("VIDEO", 3_000)]);
    let dialled = Call { call_type: Some("video".into()), ..active() };
    assert_eq!(talked(&end(&dialled, 2)), [("VIDEO", 0)], "a call of no time");
    assert_eq!(talked(&end(&Call { call_type: None, ..active() }, 4)), [("UNKNOWN", 2_000)]);
    assert_eq!(talked(&active()), [], "it goes on");
    assert_eq!(talked(&end(&ringing(), 4)), []);
    // Who was away for good did not talk: what changed meanwhile counts for nobody.
    let alone = after(&on_video(), Command::Leave { role: Role::Callee, at: at(6), acks: false, found: at(6) }, 6);
    let changed = after(&alone, downgrade(ana()), 20);
    let lost = changed.ended(EndReason::Lost { party: Role::Callee }, None, None, at(66));
    assert_eq!(talked(&lost), [("AUDIO", 2_000), ("VIDEO", 2_000)]);
}

#[test]
fn absences_are_counted_and_added_up() {
    let leave =
        |call: &Call, role, now| after(call, Command::Leave { role, at: at(now), acks: false, found: at(now) }, now);
    let back = |call: &Call, role, now| after(call, Command::Return { role }, now);
    let once = back(&leave(&active(), Role::Callee, 5), Role::Callee, 9);
    let twice = back(&leave(&once, Role::Callee, 20), Role::Callee, 21);
    let gone = leave(&twice, Role::Caller, 30);
    let over = after(&gone, Command::End { by: bo(), reason: None }, 42);
    assert_eq!((over.callee.reconnects, over.time_away(Role::Callee)), (2, Duration::from_secs(5)));
    assert_eq!((over.caller.reconnects, over.time_away(Role::Caller)), (0, Duration::from_secs(12)));
    assert_eq!(
        (over.ring_time(), over.time_to_confirm()),
        (Some(Duration::from_secs(2)), Some(Duration::from_secs(1)))
    );
    assert_eq!((trying().ring_time(), trying().time_to_confirm()), (None, None));
}
