//! Nothing ends before its time, and a ring when it was said to.

use super::scenario::*;
use super::*;

#[test]
fn nothing_ends_before_its_time() {
    let timed_out = |millis| {
        let scenario = Scenario::new().rings().heard(millis, ANA, "call:timeout");
        scenario.heard_with(millis, BO, "call:cancelled", because("Timeout")).heard_with(
            millis,
            BO_TOO,
            "call:cancelled",
            because("Timeout"),
        )
    };
    assert_eq!(timed_out(13_000).broken(), CLEAN);
    assert_eq!(timed_out(9_000).broken(), ["early end"]);
    let lost = |back, ended| {
        let scenario = Scenario::new().answered().close(2500, ANA, 1);
        scenario.heard_with(ended, BO, "call:ended", because("User disconnected")).ready(
            back,
            ANA,
            4,
            "node 2",
            None,
            &[("CALL_1", "lost")],
        )
    };
    assert_eq!(lost(30_000, 23_000).broken(), CLEAN);
    assert_eq!(lost(16_000, 15_000).broken(), ["early end"]);
    assert_eq!(lost(30_000, 23_000).deployed().broken(), ["early end"], "without acks a lost socket proves nothing");
    let gone = |millis| {
        let scenario = Scenario::new().rings().close(1500, ANA, 1);
        scenario
            .heard_with(millis, BO, "call:cancelled", because("User disconnected"))
            .heard_with(millis, BO_TOO, "call:cancelled", because("User disconnected"))
            .ready(millis + 500, ANA, 4, "node 2", None, &[("CALL_1", "caller_gone")])
    };
    assert_eq!(gone(6600).broken(), CLEAN);
    assert_eq!(gone(4000).broken(), ["early end"]);
}

#[test]
fn what_is_put_back_late_gives_way_to_what_was_dialled_meanwhile() {
    let dialled = |scenario: Scenario, millis| {
        let line = || ("cleo".to_owned(), "call:initiate".to_owned(), "CALL_2".to_owned(), 5);
        let (phone, event, call, session) = line();
        let sent = What::Sent { phone, session, event, call, to: Some("bo".into()), accepted: None };
        let (phone, event, call, session) = line();
        let answer = json!({"success": false, "code": "user_unreachable"});
        scenario.at(millis, sent).at(millis + 10, What::Acked { phone, session, event, call, answer })
    };
    let ended = |scenario: Scenario| {
        let scenario = scenario.heard_with(14_000, BO, "call:ended", because("User disconnected"));
        scenario.heard_with(14_000, ANA, "call:ended", because("User disconnected")).broken()
    };
    let answered = || Scenario::new().open(0, "cleo", 5, "node 3").answered();
    let wiped = || answered().fault(5000, 6000, "redis-wipe", "redis");
    let cut = |scenario: Scenario, node| scenario.fault(6020, 13_000, "cut", node);
    let both_cut = |scenario| cut(cut(scenario, "node 1"), "node 2");
    assert_eq!(ended(dialled(both_cut(wiped()), 11_000)), CLEAN);
    assert_eq!(ended(both_cut(wiped())), ["early end"], "nobody took a line of it");
    assert_eq!(ended(dialled(both_cut(answered()), 11_000)), ["early end"], "the store kept it");
    assert_eq!(ended(dialled(cut(wiped(), "node 1"), 11_000)), ["early end"], "another node put it back in time");
    assert_eq!(ended(dialled(wiped(), 11_000)), ["early end"]);
    let long_before = dialled(answered(), 3000).fault(5000, 6000, "redis-wipe", "redis");
    assert_eq!(ended(both_cut(long_before)), ["early end"], "it was refused before the loss");
    // The nodes are back 5 s after the cut at the latest.
    let long_after = |dialled_at| {
        let scenario =
            dialled(both_cut(wiped()), dialled_at).heard_with(30_000, BO, "call:ended", because("User disconnected"));
        scenario.heard_with(30_000, ANA, "call:ended", because("User disconnected")).broken()
    };
    assert_eq!((long_after(17_000), long_after(20_000)), (CLEAN.to_vec(), vec!["early end"]));
}

/// An accept that no node could put back in time is not known to whoever decides meanwhile.
#[test]
fn what_is_decided_on_an_older_copy_agrees_with_what_is_told_since() {
    let ended_unaccepted = |scenario: Scenario, end: &str, reason| {
        let scenario = scenario.close(8000, BO, 2).ready(14_000, BO, 4, "node 3", None, &[("CALL_1", reason)]);
        let line = |event: &str, reason| {
            let (phone, event, call) = (BO.into(), event.into(), "CALL_1".into());
            What::Heard { phone, session: 4, event, call, payload: because(reason) }
        };
        let scenario = scenario.at(14_010, line("call:ended", "Remote user ended call"));
        let scenario = scenario.at(14_011, line("call:cancelled", end));
        let scenario = scenario.close(13_900, ANA, 1);
        scenario.ready(15_000, ANA, 5, "node 3", None, &[("CALL_1", "hung_up")]).broken()
    };
    let old = || Scenario::new().answered().fault(5000, 6000, "old-snapshot", "redis");
    let cut = |scenario: Scenario, node| scenario.fault(6020, 13_000, "cut", node);
    let both_cut = || cut(cut(old(), "node 1"), "node 2");
    let (missed, hung_up) = ("Caller ended call", "hung_up");
    assert_eq!(ended_unaccepted(both_cut(), missed, hung_up), CLEAN);
    assert_eq!(ended_unaccepted(both_cut(), "Timeout", hung_up), ["disagreement"], "of what was told since");
    assert_eq!(ended_unaccepted(both_cut(), missed, "rejected"), ["disagreement"], "of what was told since");
    assert_eq!(ended_unaccepted(cut(old(), "node 1"), missed, hung_up), ["disagreement"], "another node put it back");
    assert_eq!(ended_unaccepted(Scenario::new().answered(), missed, hung_up), ["disagreement"]);
}

#[test]
fn a_ring_ends_when_the_phone_was_told_that_it_would() {
    let timed_out = |scenario: Scenario, millis| {
        let scenario = scenario
            .sent(1000, ANA, "call:initiate")
            .heard_with(2010, BO, "call:incoming", json!({"expiresInMs": 12_000}))
            .heard(2010, BO_TOO, "call:incoming")
            .acked(2020, ANA, "call:initiate", yes("trying"));
        let told = |scenario: Scenario, phone| scenario.heard_with(millis, phone, "call:cancelled", because("Timeout"));
        told(told(scenario.heard(millis, ANA, "call:timeout"), BO), BO_TOO).broken()
    };
    assert_eq!(timed_out(Scenario::new(), 16_500), CLEAN);
    assert_eq!(timed_out(Scenario::new(), 18_000), ["overdue ring"]);
    // A server that began again with its data: nodes wait for what the others put back, and then for what was said.
    assert_eq!(timed_out(Scenario::new().fault(500, 900, "redis-restart", "redis"), 18_000), CLEAN);
    // Time in which the store takes no writes gives nobody the time to put back: not before the ring either.
    let later = |scenario: Scenario| {
        let scenario = scenario
            .sent(18_000, ANA, "call:initiate")
            .heard_with(18_010, BO, "call:incoming", json!({"expiresInMs": 12_000}))
            .heard(18_010, BO_TOO, "call:incoming")
            .acked(18_020, ANA, "call:initiate", yes("trying"))
            .heard_with(36_000, BO, "call:cancelled", because("Timeout"))
            .heard_with(36_000, BO_TOO, "call:cancelled", because("Timeout"));
        scenario.heard(36_000, ANA, "call:timeout").fault(3000, 12_000, "refuse-writes", "redis").broken()
    };
    assert_eq!(later(Scenario::new()), ["overdue ring"]);
    assert_eq!(later(Scenario::new().fault(500, 900, "redis-wipe", "redis")), CLEAN);
    assert_eq!(later(Scenario::new().fault(500, 900, "redis-restart", "redis")), CLEAN);
}
