mod in_time;
mod messages;
mod scenario;
mod video;
mod words;

use scenario::{ANA, BO, BO_TOO, Scenario, because, no, yes};
use serde_json::json;

use super::*;

const CLEAN: [&str; 0] = [];

#[test]
fn a_call_that_goes_well_breaks_no_rule() {
    let verdict = judge(&Scenario::new().over().0);
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.calls, verdict.outcomes["hung up"]), (1, 1));
    assert_eq!(verdict.learned, Learned { by_own_word: 1, by_event: 2, by_ready: 0, never: 0 });
}

#[test]
fn an_event_is_not_told_twice_in_one_session() {
    assert_eq!(Scenario::new().over().heard_with(3020, ANA, "call:ended", because("")).broken(), ["twice"]);
    let repeat = Scenario::new().answered().heard_with(2500, ANA, "call:accepted", json!({"repeat": true}));
    let scenario =
        repeat.sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended")).heard(3010, ANA, "call:ended");
    assert_eq!(scenario.broken(), CLEAN);
}

#[test]
fn one_accept_wins() {
    let lost = Scenario::new().answered().sent(2001, BO_TOO, "call:accept");
    let over = |scenario: Scenario| scenario.heard(3000, ANA, "call:ended").heard(3000, BO, "call:ended");
    let two = lost.acked(2011, BO_TOO, "call:accept", yes("active")).heard(3000, BO_TOO, "call:ended");
    assert_eq!(over(two).broken(), ["two accepts"]);
    let refused =
        Scenario::new().answered().sent(2001, BO_TOO, "call:accept").acked(2011, BO_TOO, "call:accept", no("active"));
    assert_eq!(over(refused).broken(), CLEAN);
}

#[test]
fn both_sides_agree_on_the_end() {
    let cancelled =
        || Scenario::new().rings().sent(2000, ANA, "call:cancel").acked(2010, ANA, "call:cancel", yes("ended"));
    let told = |scenario: Scenario, reason| {
        scenario.heard_with(2010, BO, "call:cancelled", because(reason)).heard_with(
            2010,
            BO_TOO,
            "call:cancelled",
            because(reason),
        )
    };
    assert_eq!(told(cancelled(), "Caller ended call").broken(), CLEAN);
    assert_eq!(told(cancelled(), "Declined elsewhere").broken(), ["disagreement"]);
    // An accept that won makes the cancel a hang-up: a ring can't have been cancelled as well.
    let both = cancelled().sent(2000, BO, "call:accept").acked(2005, BO, "call:accept", yes("active"));
    assert_eq!(told(both, "Caller ended call").broken(), ["disagreement"]);
}

#[test]
fn the_caller_is_told_one_end() {
    let scenario = Scenario::new()
        .rings()
        .sent(2000, BO, "call:reject")
        .acked(2010, BO, "call:reject", yes("ended"))
        .heard_with(2010, BO_TOO, "call:cancelled", because("Declined elsewhere"))
        .heard(2010, ANA, "call:rejected");
    assert_eq!(scenario.heard(2020, ANA, "call:busy").broken(), ["disagreement", "disagreement"]);
}

#[test]
fn who_stays_connected_hears_of_the_end() {
    let untold = || Scenario::new().answered().sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended"));
    assert_eq!(untold().broken(), ["unheard end"]);
    assert_eq!(untold().heard(14_000, ANA, "call:ended").broken(), CLEAN);
    assert_eq!(untold().heard(16_000, ANA, "call:ended").broken(), ["unheard end"]);
    // While her node stood still it could tell nothing.
    let paused = untold().fault(3000, 15_000, "suspend", "node 1");
    assert_eq!(paused.heard(30_000, ANA, "call:ended").broken(), CLEAN);
    let elsewhere = untold().fault(3000, 15_000, "suspend", "node 2");
    assert_eq!(elsewhere.heard(30_000, ANA, "call:ended").broken(), ["unheard end"]);
}

#[test]
fn a_newer_call_makes_an_older_one_a_thing_of_the_past() {
    let scenario = Scenario::new().answered().sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended"));
    let line = |event: &str, phone: &str, session| {
        let (phone, event, call) = (phone.to_owned(), event.to_owned(), "CALL_2".to_owned());
        (phone, event, call, session)
    };
    let (phone, event, call, session) = line("call:initiate", BO, 2);
    let scenario = scenario.at(4000, What::Sent { phone, session, event, call, to: Some(ANA.into()), accepted: None });
    let (phone, event, call, session) = line("call:incoming", ANA, 1);
    let scenario = scenario.at(4010, What::Heard { phone, session, event, call, payload: json!({}) });
    let (phone, event, call, session) = line("call:cancel", BO, 2);
    let scenario = scenario.at(4500, What::Acked { phone, session, event, call, answer: yes("ended") });
    let (phone, event, call, session) = line("call:cancelled", ANA, 1);
    assert_eq!(scenario.at(4510, What::Heard { phone, session, event, call, payload: json!({}) }).broken(), CLEAN);
}

#[test]
fn dials_over_http_are_ordered_by_what_the_phone_is_told() {
    let line = |event: &str, call: &str| (ANA.to_owned(), event.to_owned(), call.to_owned(), 1);
    let ringing = |scenario: Scenario, millis, call| {
        let (phone, event, call, session) = line("call:ringing", call);
        scenario.at(millis, What::Heard { phone, session, event, call, payload: json!({}) })
    };
    // The older dial, CALL_0, is written after the newer one, and takes its line: its caller hears of the older alone.
    let displaced = |older_rang_at| {
        let (phone, event, call, session) = line("call:initiate", "CALL_0");
        let to = Some("cleo".into());
        let scenario = Scenario::new().at(900, What::Sent { phone, session, event, call, to, accepted: None });
        let scenario = ringing(ringing(scenario.rings(), 1500, "CALL_1"), older_rang_at, "CALL_0");
        let scenario = scenario.heard_with(1600, BO, "call:cancelled", because("Caller ended call"));
        let (phone, event, call, session) = line("call:cancel", "CALL_0");
        let scenario = scenario.heard_with(1600, BO_TOO, "call:cancelled", because("Caller ended call"));
        scenario.at(1900, What::Acked { phone, session, event, call, answer: yes("ended") })
    };
    assert_eq!(displaced(1590).broken(), CLEAN);
    assert_eq!(displaced(1490).broken(), ["unheard end"]);
}

#[test]
fn who_comes_back_learns_of_the_end() {
    let away = || {
        let scenario = Scenario::new().answered().close(2500, ANA, 1);
        scenario.sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended"))
    };
    let told = away().ready(6000, ANA, 4, "node 2", None, &[("CALL_1", "hung_up")]);
    assert_eq!(told.broken(), CLEAN);
    assert_eq!(away().open(6000, ANA, 4, "node 2").broken(), ["unheard end"]);
    let contradicted = away().ready(6000, ANA, 4, "node 2", None, &[("CALL_1", "no_answer")]);
    assert_eq!(contradicted.broken(), ["disagreement"]);
}

#[test]
fn every_call_ends() {
    assert_eq!(Scenario::new().answered().broken(), ["endless"; 2]);
}

#[test]
fn nothing_rings_after_its_end() {
    let late = Scenario::new().over().close(3500, BO, 2).open(4000, BO, 5, "node 1");
    let ring = |scenario: Scenario, millis, session| {
        let (phone, event, call) = (BO.to_owned(), "call:incoming".to_owned(), "CALL_1".to_owned());
        scenario.at(millis, What::Heard { phone, session, event, call, payload: json!({}) })
    };
    assert_eq!(ring(late, 4010, 5).broken(), ["late ring"]);
    // Told to a phone that did not know of the call: only within the time in which a decision is still spoken.
    let cancelled = |rings_at| {
        Scenario::new()
            .sent(1000, ANA, "call:initiate")
            .acked(1020, ANA, "call:initiate", yes("trying"))
            .sent(1100, ANA, "call:cancel")
            .acked(1110, ANA, "call:cancel", yes("ended"))
            .heard(rings_at, BO, "call:incoming")
            .heard(rings_at + 10, BO, "call:cancelled")
    };
    assert_eq!(cancelled(2000).broken(), CLEAN);
    assert_eq!(cancelled(4000).broken(), ["late ring"]);
}

#[test]
fn a_call_that_was_promised_to_ring_rings() {
    let quiet = |answer| {
        Scenario::new()
            .open(0, "cleo", 9, "node 1")
            .sent(5000, ANA, "call:initiate")
            .acked(5020, ANA, "call:initiate", answer)
            .heard(17_020, ANA, "call:timeout")
    };
    assert_eq!(quiet(yes("trying")).broken(), ["silent ring"; 2]);
    // While their node was cut off it could show nothing, and a ring whose time is over is not shown.
    assert_eq!(quiet(yes("trying")).fault(5000, 13_000, "cut", "node 2").broken(), CLEAN);
    let offline = json!({"success": false, "useFcmFallback": true});
    assert_eq!(quiet(offline.clone()).broken(), ["silent ring"; 2]);
    let away = Scenario::new().close(500, BO, 2).close(500, BO_TOO, 3);
    let away = away.sent(5000, ANA, "call:initiate").acked(5020, ANA, "call:initiate", offline);
    assert_eq!(away.heard(17_020, ANA, "call:timeout").broken(), CLEAN);
}

#[test]
fn strangers_hear_nothing() {
    let scenario = Scenario::new().open(0, "cleo", 9, "node 1").over();
    let (phone, event, call) = ("cleo".to_owned(), "call:ended".to_owned(), "CALL_1".to_owned());
    let told = What::Heard { phone, session: 9, event, call, payload: json!({}) };
    assert_eq!(scenario.at(3020, told).broken(), ["stranger"]);
}

#[test]
fn a_known_call_is_not_forgotten_unless_its_nodes_died_with_the_store() {
    let unknown = json!({"success": false, "code": "call_not_found"});
    let forgotten = |scenario: Scenario| {
        let scenario = scenario.sent(25_000, ANA, "call:end").acked(25_010, ANA, "call:end", unknown.clone());
        let scenario = scenario.sent(25_000, BO, "call:end").acked(25_010, BO, "call:end", unknown.clone());
        scenario.broken()
    };
    assert_eq!(forgotten(Scenario::new().answered()), ["forgotten"; 2]);
    let wiped = || Scenario::new().answered().fault(5000, 6000, "redis-wipe", "redis");
    assert_eq!(forgotten(wiped()), ["forgotten"; 2]);
    let down = |scenario: Scenario, node: &str| scenario.at(5500, What::Down { node: node.into() });
    assert_eq!(forgotten(down(wiped(), "node 1")), ["forgotten"; 2]);
    assert_eq!(forgotten(down(down(wiped(), "node 1"), "node 2")), CLEAN);
}

#[test]
fn an_end_just_before_the_store_was_lost_is_uncertain() {
    let untold = |kind| {
        let scenario = Scenario::new().answered().sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended"));
        scenario.fault(4000, 5000, kind, "redis").broken()
    };
    assert_eq!(untold("redis-wipe"), CLEAN);
    assert_eq!(untold("redis-restart"), ["unheard end"]);
}

#[test]
fn nobody_is_busy_when_nothing_goes_on() {
    let probe = |answer: Value| {
        let is_free = answer["success"] == true;
        let (phone, event, call) = (ANA.to_owned(), "call:initiate".to_owned(), "PROBE_9".to_owned());
        let sent = What::Sent {
            phone: phone.clone(),
            session: 1,
            event: event.clone(),
            call: call.clone(),
            to: Some("bo".into()),
            accepted: None,
        };
        let scenario = Scenario::new().at(1000, sent);
        let scenario =
            scenario.at(1010, What::Acked { phone: phone.clone(), session: 1, event, call: call.clone(), answer });
        let heard = |scenario: Scenario, session, phone: &str| {
            let (phone, event, call) = (phone.to_owned(), "call:cancelled".to_owned(), call.clone());
            scenario.at(1200, What::Heard { phone, session, event, call, payload: json!({}) })
        };
        let cancel =
            What::Acked { phone, session: 1, event: "call:cancel".into(), call: call.clone(), answer: yes("ended") };
        if is_free { heard(heard(scenario.at(1190, cancel), 2, BO), 3, BO_TOO).broken() } else { scenario.broken() }
    };
    assert_eq!(probe(yes("trying")), CLEAN);
    assert_eq!(probe(json!({"success": false, "busy": true})), ["busy at rest"]);
    let audit = |active_calls, users| {
        Scenario::new().at(9000, What::Audit { node: "node 1".into(), active_calls, users }).broken()
    };
    assert_eq!(audit(0, 2), CLEAN);
    assert_eq!(audit(1, 2), ["busy at rest"]);
    assert_eq!(audit(0, 3), ["miscounted"]);
}

#[test]
fn an_end_that_nobody_survived_may_be_lost_with_the_store() {
    let probe = |scenario: Scenario| {
        let (phone, event, call) = (ANA.to_owned(), "call:initiate".to_owned(), "PROBE_9".to_owned());
        let (to, answer) = (Some("bo".to_owned()), json!({"success": false, "busy": true}));
        let sent = What::Sent { phone, session: 1, event, call, to, accepted: None };
        let (phone, event, call) = (ANA.to_owned(), "call:initiate".to_owned(), "PROBE_9".to_owned());
        scenario.at(30_000, sent).at(30_010, What::Acked { phone, session: 1, event, call, answer }).broken()
    };
    let wiped = |scenario: Scenario| scenario.fault(4000, 5000, "redis-wipe", "redis");
    let down = |scenario: Scenario, node: &str| scenario.at(3800, What::Down { node: node.into() });
    assert_eq!(probe(wiped(Scenario::new().over())), ["busy at rest"]);
    assert_eq!(probe(wiped(down(Scenario::new().over(), "node 1"))), ["busy at rest"]);
    assert_eq!(probe(wiped(down(down(Scenario::new().over(), "node 1"), "node 2"))), CLEAN);
    assert_eq!(probe(down(down(Scenario::new().over(), "node 1"), "node 2")), ["busy at rest"]);
}

#[test]
fn no_phone_is_sent_away_and_no_node_dies_by_itself() {
    let burnt = What::Burnt { phone: ANA.into(), why: "CONNECT_ERROR".into() };
    assert_eq!(Scenario::new().at(10, burnt).broken(), ["burnt"]);
    let died = |scenario: Scenario| scenario.at(30_000, What::Died { node: "node 1".into() }).broken();
    assert_eq!(died(Scenario::new()), ["died"]);
    assert_eq!(died(Scenario::new().fault(5000, 20_000, "cut", "node 1")), CLEAN);
    assert_eq!(died(Scenario::new().fault(5000, 20_000, "cut", "node 2")), ["died"]);
    assert_eq!(died(Scenario::new().fault(5000, 28_000, "suspend", "node 1")), ["died"]);
    assert_eq!(died(Scenario::new().fault(5000, 28_000, "refuse-writes", "redis")), ["died"]);
}

#[test]
fn lines_are_read_as_they_were_written() {
    for entry in Scenario::new().over().fault(1, 2, "kill", "node 1").0 {
        let line = serde_json::to_string(&entry).expect("JSON");
        let read: Entry = serde_json::from_str(&line).expect("an entry");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), line);
    }
}

#[test]
fn who_does_not_read_is_not_told_until_he_does() {
    let untold = || Scenario::new().answered().sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended"));
    let stalled = |scenario: Scenario| {
        scenario
            .at(2500, What::Stopped { phone: ANA.into(), session: 1 })
            .at(6000, What::Reads { phone: ANA.into(), session: 1 })
    };
    assert_eq!(stalled(untold()).heard(17_900, ANA, "call:ended").broken(), CLEAN);
    assert_eq!(stalled(untold()).heard(18_100, ANA, "call:ended").broken(), ["unheard end"]);
}

#[test]
fn what_ended_after_the_snapshot_is_not_certain() {
    let untold = |lost_ms| {
        let begin = What::Begin {
            fault: 9,
            kind: "old-snapshot".into(),
            target: "redis".into(),
            ringing: 0,
            active: 0,
            lost_ms,
        };
        let scenario = Scenario::new().answered().sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended"));
        scenario.at(20_000, begin).at(21_000, What::Done { fault: 9 })
    };
    assert_eq!(untold(18_000).broken(), CLEAN);
    assert_eq!(untold(10_000).broken(), ["unheard end"]);
}

#[test]
fn a_clock_that_steps_and_a_flood_excuse_nothing() {
    for kind in ["clock-step", "impatient", "presence-flood", "dial-flood"] {
        let untold = Scenario::new().answered().sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended"));
        assert_eq!(untold.fault(2000, 30_000, kind, "redis").broken(), ["unheard end"], "{kind}");
    }
}

#[test]
fn nobody_is_closed_because_the_store_refuses_writes() {
    let closed = |kind: &str, why: &str| {
        let close = What::Close { phone: ANA.into(), session: 1, why: why.into() };
        Scenario::new().fault(1000, 9000, kind, "redis").at(8000, close).broken()
    };
    assert_eq!(closed("refuse-writes", "closed by the server"), ["dropped"]);
    assert_eq!(closed("refuse-writes", "cut"), CLEAN);
    assert_eq!(closed("redis-wipe", "closed by the server"), CLEAN);
    let suspended = Scenario::new().fault(1000, 9000, "refuse-writes", "redis").fault(500, 6000, "suspend", "node 1");
    let close = What::Close { phone: ANA.into(), session: 1, why: "closed by the server".into() };
    assert_eq!(suspended.at(8000, close).broken(), CLEAN);
}
