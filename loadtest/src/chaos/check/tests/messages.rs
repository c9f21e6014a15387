use super::*;

const MESSAGE: &str = "call:message";

impl Scenario {
    /// Ana's message is kept.
    fn writes(self, millis: u64, order: u64) -> Self {
        let kept = json!({"success": true, "state": "active", "kept": true, "order": order});
        self.sent(millis - 5, ANA, MESSAGE).acked(millis, ANA, MESSAGE, kept)
    }

    fn told(self, millis: u64, phone: &str, order: u64) -> Self {
        self.heard_with(millis, phone, MESSAGE, json!({"order": order}))
    }

    /// Both of Bo's phones are told.
    fn told_both(self, millis: u64, order: u64) -> Self {
        self.told(millis, BO, order).told(millis, BO_TOO, order)
    }

    fn hangs_up(self, millis: u64) -> Self {
        let scenario = self.sent(millis, BO, "call:end").acked(millis + 10, BO, "call:end", yes("ended"));
        scenario.heard(millis + 20, ANA, "call:ended")
    }
}

#[test]
fn messages_that_come_in_order_break_no_rule() {
    let scenario = Scenario::new().answered().writes(3000, 10).told_both(3005, 10).writes(3100, 11).told_both(3105, 11);
    assert_eq!(scenario.hangs_up(4000).broken(), CLEAN);
    // Nobody waits for one in a call that is over.
    assert_eq!(Scenario::new().answered().writes(3000, 10).hangs_up(4000).broken(), CLEAN);
    // What was not acknowledged may never have come.
    assert_eq!(Scenario::new().answered().sent(3000, ANA, MESSAGE).hangs_up(30_000).broken(), CLEAN);
}

#[test]
fn a_message_comes_once_and_behind_those_before_it() {
    let scenario = Scenario::new().answered().writes(3000, 10).told_both(3005, 10).writes(3100, 11);
    let twice = scenario.told_both(3105, 11).told(3110, BO, 11);
    assert_eq!(twice.hangs_up(4000).broken(), ["twice"]);
    let scenario = Scenario::new().answered().writes(3000, 10).writes(3100, 11).told(3105, BO, 11).told(3110, BO, 10);
    assert_eq!(scenario.told(3105, BO_TOO, 10).told(3110, BO_TOO, 11).hangs_up(4000).broken(), ["message order"]);
}

#[test]
fn nothing_that_is_kept_is_passed_over() {
    let scenario = Scenario::new().answered().writes(3000, 10).writes(3100, 11).told_both(3105, 11);
    assert_eq!(scenario.hangs_up(4000).broken(), ["lost message", "lost message"]);
    let lost = Scenario::new().answered().writes(3000, 10).writes(3100, 11).fault(3050, 3060, "redis-wipe", "redis");
    assert_eq!(lost.told_both(3105, 11).hangs_up(4000).broken(), CLEAN);
    // It comes behind the end to a phone that came back: what was kept is gone.
    let over = Scenario::new().answered().writes(3000, 10).told_both(3005, 10).writes(3100, 11).told(3105, BO_TOO, 11);
    let over = over.close(3200, BO, 2).hangs_up(4000).ready(4100, BO, 4, "node 1", None, &[("CALL_1", "hung_up")]);
    let (phone, event, call, payload) = (BO.into(), MESSAGE.into(), "CALL_1".into(), json!({"order": 11}));
    assert_eq!(over.at(4200, What::Heard { phone, session: 4, event, call, payload }).broken(), CLEAN);
    // Nor is it passed over where the ender has his answer later than the others hear of the end.
    let (event, call) = ("call:ended".to_owned(), "CALL_1".to_owned());
    let payload = json!({"reason": "Remote user ended call"});
    let over = Scenario::new().answered().writes(3000, 10).told_both(3005, 10).writes(3100, 11).told(3105, BO_TOO, 11);
    let over = over.close(3200, BO, 2).ready(3990, BO, 4, "node 1", None, &[]);
    let over = over.at(3995, What::Heard { phone: BO.into(), session: 4, event, call, payload });
    let (phone, event, call, payload) = (BO.into(), MESSAGE.into(), "CALL_1".into(), json!({"order": 11}));
    let over = over.at(3998, What::Heard { phone, session: 4, event, call, payload });
    assert_eq!(over.hangs_up(4000).broken(), CLEAN);
    // Nor where it is told between the word of the end and the first who hears of that: the end may be written by then.
    let told_at = |millis| {
        let scenario = Scenario::new().answered().writes(3000, 10).told(3005, BO_TOO, 10).writes(3100, 11);
        let scenario = scenario.told(3105, BO_TOO, 11);
        let mut lines = scenario.told(millis, BO, 11).hangs_up(4000);
        lines.0.sort_by_key(|entry| entry.at);
        lines.broken()
    };
    assert_eq!(told_at(4005), CLEAN);
    assert_eq!(told_at(3995), ["lost message"]);
    // A phone that comes back is told again, and before anything later.
    let back = |scenario: Scenario| {
        let live = json!({"callId": "CALL_1", "role": "callee", "state": "active", "callType": "AUDIO"});
        scenario.close(3200, BO, 2).ready(3300, BO, 4, "node 1", Some(live), &[])
    };
    let told_in = |scenario: Scenario, order: u64| {
        let (phone, event, call, payload) = (BO.into(), MESSAGE.into(), "CALL_1".into(), json!({"order": order}));
        scenario.at(3400 + order, What::Heard { phone, session: 4, event, call, payload })
    };
    let written =
        || Scenario::new().answered().writes(3000, 10).told_both(3005, 10).writes(3100, 11).told_both(3105, 11);
    assert_eq!(told_in(back(written()), 11).hangs_up(4000).broken(), ["lost message"]);
    assert_eq!(told_in(told_in(back(written()), 10), 11).hangs_up(4000).broken(), CLEAN);
}

#[test]
fn whoever_stays_in_the_call_is_told() {
    let scenario = || Scenario::new().answered().writes(3000, 10).told(3005, BO_TOO, 10);
    assert_eq!(scenario().hangs_up(14_000).broken(), CLEAN);
    assert_eq!(scenario().hangs_up(20_000).broken(), ["lost message"]);
    assert_eq!(scenario().told(13_000, BO, 10).hangs_up(20_000).broken(), CLEAN);
    assert_eq!(scenario().fault(3000, 9000, "suspend", "node 2").hangs_up(20_000).broken(), CLEAN);
}

/// A node that begins while the others rest after a loss takes the call, which is older than itself, for one that may be
/// over, and looks again 16 s later.
#[test]
fn a_node_that_begins_after_a_loss_is_unsure_for_a_while() {
    let broken = |up: u64, hangs_up: u64| {
        let live = json!({"callId": "CALL_1", "role": "callee", "state": "active", "callType": "AUDIO"});
        let scenario = Scenario::new().fault(100, 200, "redis-wipe", "redis").answered();
        let scenario = scenario.writes(3000, 10).told_both(3005, 10).close(up - 100, BO, 2);
        let scenario = scenario.at(up, What::Up { node: "node 3".into() });
        scenario.ready(up + 100, BO, 4, "node 3", Some(live), &[]).hangs_up(hangs_up).broken()
    };
    assert_eq!(broken(19_000, 34_000), CLEAN);
    assert_eq!(broken(19_000, 50_000), ["lost message"], "it has looked by then");
    assert_eq!(broken(20_000, 34_000), ["lost message"], "all had had their time");
}
