use super::*;

#[test]
fn a_word_over_http_takes_effect() {
    let rings = || Scenario::new().rings();
    let timed_out = |scenario: Scenario| {
        let timeout =
            |scenario: Scenario, phone| scenario.heard_with(13_000, phone, "call:cancelled", because("Timeout"));
        timeout(timeout(scenario, BO), BO_TOO).heard(13_000, ANA, "call:timeout")
    };
    // Whoever gave up waiting is obeyed all the same.
    let gave_up =
        || rings().said(2000, ANA, "node 1", "call:cancel").answered_over_http(2500, ANA, "call:cancel", None);
    assert_eq!(timed_out(gave_up()).broken(), ["lost word"]);
    let told = |scenario: Scenario, at| {
        let told =
            |scenario: Scenario, phone| scenario.heard_with(at, phone, "call:cancelled", because("Caller ended call"));
        told(told(scenario, BO), BO_TOO)
    };
    assert_eq!(told(gave_up(), 4000).broken(), CLEAN);
    // 503 says that it waits.
    let queued =
        rings().said(2000, ANA, "node 1", "call:cancel").answered_over_http(2500, ANA, "call:cancel", Some(503));
    assert_eq!(timed_out(queued).broken(), ["lost word"]);
    // A node that is killed takes its queue with it.
    let killed = gave_up().at(3000, What::Down { node: "node 1".into() });
    assert_eq!(timed_out(killed.close(3000, ANA, 1)).broken(), CLEAN);
    // Its socket took the connection while it died.
    let dying = rings().at(1990, What::Down { node: "node 1".into() }).said(2000, ANA, "node 1", "call:cancel");
    let dying = dying.answered_over_http(2001, ANA, "call:cancel", None).close(2001, ANA, 1);
    assert_eq!(timed_out(dying).broken(), CLEAN);
    // So does not one that drains.
    let drained = gave_up().fault(2600, 7000, "drain", "node 1").at(7000, What::Down { node: "node 1".into() });
    assert_eq!(timed_out(drained).broken(), ["lost word"]);
    // A word of which the store could not know yet.
    let away = gave_up().fault(1900, 9000, "redis-pause", "redis");
    assert_eq!(timed_out(away).broken(), CLEAN);
}

#[test]
fn an_accept_over_http_may_be_told_later_of_a_call_that_lasts() {
    let accepted = |told_at| {
        let scenario = Scenario::new().rings().said(2000, BO, "node 2", "call:accept");
        let scenario =
            scenario.answered_over_http(4500, BO, "call:accept", Some(503)).heard(told_at, ANA, "call:accepted");
        let scenario = scenario.sent(40_000, ANA, "call:end").acked(40_010, ANA, "call:end", yes("ended"));
        let told = |scenario: Scenario, phone| scenario.heard(40_020, phone, "call:ended");
        told(told(scenario, BO), BO_TOO).broken()
    };
    assert_eq!(accepted(9000), CLEAN);
    assert!(accepted(39_000).contains(&"lost word"));
}

#[test]
fn a_call_ends_by_a_word_over_http() {
    let said = || {
        Scenario::new().answered().said(3000, BO, "node 2", "call:end").answered_over_http(3100, BO, "call:end", None)
    };
    assert_eq!(said().heard(60_000, ANA, "call:ended").broken(), ["lost word"]);
    assert_eq!(said().heard(4000, ANA, "call:ended").broken(), CLEAN);
}

#[test]
fn who_hangs_up_long_after_the_other_said_so_does_not_hide_that_it_was_lost() {
    let hung_up = |by: &'static str, at: u64| {
        let said = Scenario::new().answered().said(3000, BO, "node 2", "call:end");
        let said = said.answered_over_http(3100, BO, "call:end", Some(503)).sent(at, ANA, "call:end");
        let ended = json!({"endedBy": by, "reason": "Remote user ended call"});
        let told = |scenario: Scenario, phone| scenario.heard_with(at + 20, phone, "call:ended", ended.clone());
        told(told(said.acked(at + 10, ANA, "call:end", yes("ended")), BO), BO_TOO).broken()
    };
    // The node obeyed both at the same time, or the first only told it late.
    assert_eq!(hung_up("ana", 4000), CLEAN);
    assert_eq!(hung_up("bo", 12_000), CLEAN);
    assert_eq!(hung_up("ana", 12_000), ["lost word"]);
}

#[test]
fn a_phone_that_accepted_over_http_rings_no_more() {
    let scenario = Scenario::new().rings().said(1500, BO, "node 2", "call:accept");
    let scenario = scenario.answered_over_http(1510, BO, "call:accept", Some(200)).heard(1505, ANA, "call:accepted");
    let scenario = scenario.sent(20_000, ANA, "call:end").acked(20_010, ANA, "call:end", yes("ended"));
    let elsewhere = because("Answered elsewhere");
    let scenario = scenario.heard(20_020, BO, "call:ended").heard_with(20_020, BO_TOO, "call:cancelled", elsewhere);
    assert_eq!(scenario.broken(), CLEAN);
}
