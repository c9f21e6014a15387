use super::*;

const ASK: &str = "call:upgrade";
const ANSWER: &str = "call:upgrade:response";
const BACK: &str = "call:downgrade";
const ASKED: &str = "call:upgrade:request";
const WENT_BACK: &str = "call:downgraded";

/// Ana, who talks with Bo, asks him for video.
fn asks() -> Scenario {
    let scenario = Scenario::new().answered().sent(3000, ANA, ASK).heard(3010, BO, ASKED);
    scenario.acked(3020, ANA, ASK, yes("active"))
}

/// Bo agrees.
fn agreed() -> Scenario {
    let scenario = asks().says(3500, BO, true).heard_with(3510, ANA, ANSWER, accepted());
    scenario.acked(3520, BO, ANSWER, yes("active"))
}

/// Bo goes back to audio; whoever is to be told of it is not.
fn back() -> Scenario {
    agreed().sent(4000, BO, BACK).acked(4010, BO, BACK, yes("active"))
}

/// Bo hangs up.
fn over(scenario: Scenario, at: u64) -> Scenario {
    scenario.sent(at, BO, "call:end").acked(at + 10, BO, "call:end", yes("ended")).heard(at + 20, ANA, "call:ended")
}

fn accepted() -> Value {
    json!({"accepted": true})
}

fn refused(reason: &str) -> Value {
    json!({"accepted": false, "reason": reason})
}

impl Scenario {
    fn says(mut self, millis: u64, phone: &str, answer: bool) -> Self {
        self = self.sent(millis, phone, ANSWER);
        if let Some(What::Sent { accepted, .. }) = self.0.last_mut().map(|entry| &mut entry.what) {
            *accepted = Some(answer);
        }
        self
    }

    fn recorded(self, call_type: &str) -> Self {
        let (node, call_type) = ("node 1".into(), Some(call_type.into()));
        self.at(90_000, What::Record { node, call: "CALL_1".into(), call_type })
    }

    fn told_in(self, millis: u64, phone: &str, session: u64, event: &str, payload: Value) -> Self {
        let (phone, event, call) = (phone.into(), event.into(), "CALL_1".into());
        self.at(millis, What::Heard { phone, session, event, call, payload })
    }

    fn back_with(self, millis: u64, phone: &str, call_type: &str) -> Self {
        let role = if phone == ANA { "caller" } else { "callee" };
        let live = json!({"callId": "CALL_1", "role": role, "state": "active", "callType": call_type});
        self.ready(millis, phone, 4, "node 2", Some(live), &[])
    }
}

#[test]
fn a_switch_that_goes_well_breaks_no_rule() {
    assert_eq!(over(agreed(), 5000).recorded("VIDEO").broken(), CLEAN);
    assert_eq!(over(back().heard(4010, ANA, WENT_BACK), 30_000).recorded("AUDIO").broken(), CLEAN);
    let no = asks().says(3500, BO, false).acked(3520, BO, ANSWER, yes("active"));
    assert_eq!(
        over(no.heard_with(3510, ANA, ANSWER, refused("User declined")), 30_000).recorded("AUDIO").broken(),
        CLEAN
    );
    let both = asks().sent(3015, BO, ASK).acked(3030, BO, ASK, yes("active")).heard_with(3040, ANA, ANSWER, accepted());
    assert_eq!(over(both.heard_with(3040, BO, ANSWER, accepted()), 5000).recorded("VIDEO").broken(), CLEAN);
    // Too late: the call goes on.
    let late = asks().heard_with(7010, ANA, ANSWER, refused("No answer")).says(7015, BO, true);
    assert_eq!(over(late.acked(7020, BO, ANSWER, no_longer()), 30_000).recorded("AUDIO").broken(), CLEAN);
}

fn no_longer() -> Value {
    no("active")
}

#[test]
fn who_asks_for_video_hears_the_answer() {
    assert_eq!(over(asks(), 20_000).broken(), ["unanswered"]);
    let timed_out =
        |scenario: Scenario, at| over(scenario.heard_with(at, ANA, ANSWER, refused("No answer")), 60_000).broken();
    assert_eq!(timed_out(asks(), 9_900), CLEAN);
    assert_eq!(timed_out(asks().fault(3000, 15_000, "suspend", "node 1"), 26_000), CLEAN);
    let unheard = asks().says(3500, BO, true).acked(3520, BO, ANSWER, yes("active"));
    assert_eq!(over(unheard, 30_000).broken(), ["two types", "unanswered"]);
    // What was not acknowledged may never have been asked.
    assert_eq!(over(Scenario::new().answered().sent(3000, ANA, ASK), 30_000).broken(), CLEAN);
}

#[test]
fn the_end_of_a_call_answers_what_is_asked() {
    assert_eq!(over(asks(), 5000).broken(), ["unanswered"]);
    let told = |scenario: Scenario, at| scenario.heard_with(at, ANA, ANSWER, refused("Call ended"));
    assert_eq!(over(told(asks(), 5010), 5000).broken(), CLEAN);
    let her_end = |scenario: Scenario| {
        let scenario = scenario.sent(5000, ANA, "call:end").acked(5010, ANA, "call:end", yes("ended"));
        scenario.heard(5010, BO, "call:ended")
    };
    assert_eq!(her_end(asks()).broken(), ["unanswered"]);
    assert_eq!(told(her_end(asks()), 5020).broken(), CLEAN);
    assert_eq!(her_end(asks()).close(6000, ANA, 1).broken(), CLEAN);
}

#[test]
fn who_comes_back_is_told_of_the_answer() {
    let away = || {
        let scenario = asks().close(3100, ANA, 1).says(3500, BO, true).acked(3520, BO, ANSWER, yes("active"));
        scenario.back_with(6000, ANA, "VIDEO")
    };
    let over = |scenario: Scenario| {
        let scenario = scenario.sent(40_000, BO, "call:end").acked(40_010, BO, "call:end", yes("ended"));
        scenario.told_in(40_020, ANA, 4, "call:ended", json!({})).broken()
    };
    assert_eq!(over(away().told_in(6010, ANA, 4, ANSWER, accepted())), CLEAN);
    assert_eq!(over(away()), ["unanswered"]);
}

#[test]
fn only_devices_in_the_call_are_told_of_video() {
    assert_eq!(over(agreed().heard(3020, BO_TOO, ASKED), 5000).broken(), ["stranger"]);
    let may_have_won = agreed().sent(2005, BO_TOO, "call:accept").heard(3020, BO_TOO, ASKED);
    assert_eq!(over(may_have_won, 5000).broken(), CLEAN);
}

#[test]
fn nothing_about_video_is_told_more_often_than_it_was_said() {
    assert_eq!(over(agreed().heard_with(3600, ANA, ANSWER, accepted()), 5000).broken(), ["twice"]);
    assert_eq!(over(agreed().heard(3011, BO, ASKED), 5000).broken(), ["twice"]);
    assert_eq!(over(agreed().heard(3600, ANA, WENT_BACK), 5000).broken(), ["twice"]);
    let again = asks().close(3100, BO, 2).back_with(4100, BO, "AUDIO").told_in(4110, BO, 4, ASKED, json!({}));
    let scenario = again.heard_with(7010, ANA, ANSWER, refused("No answer")).sent(8000, ANA, "call:end");
    let scenario = scenario.acked(8010, ANA, "call:end", yes("ended")).told_in(8020, BO, 4, "call:ended", json!({}));
    assert_eq!(scenario.broken(), CLEAN);
}

#[test]
fn an_answer_is_what_was_said() {
    let answered = |payload, at| over(asks().heard_with(at, ANA, ANSWER, payload), 10_000).broken();
    assert_eq!(answered(accepted(), 4000), ["wrong answer"]);
    assert_eq!(answered(refused("User declined"), 4000), ["wrong answer"]);
    assert_eq!(answered(refused("No answer"), 5000), ["wrong answer"]);
    assert_eq!(answered(refused("No answer"), 7000), CLEAN);
    assert_eq!(answered(refused("User disconnected"), 5000), CLEAN);
}

#[test]
fn both_sides_have_one_type() {
    assert_eq!(over(back(), 30_000).broken(), ["two types"]);
    assert_eq!(over(back(), 10_000).broken(), CLEAN, "comparing may take so long");
    assert_eq!(over(back().fault(3900, 25_000, "suspend", "node 1"), 30_000).broken(), CLEAN);
    assert_eq!(over(back().heard(9000, ANA, WENT_BACK), 30_000).broken(), CLEAN);
    // The acknowledgement of a yes was overtaken by what Ana did with it.
    let overtaken = asks().says(3500, BO, true).heard_with(3510, ANA, ANSWER, accepted()).sent(3600, ANA, BACK);
    let overtaken = overtaken.acked(3610, ANA, BACK, yes("active")).heard(3610, BO, WENT_BACK);
    assert_eq!(over(overtaken.acked(3700, BO, ANSWER, yes("active")), 30_000).broken(), CLEAN);
    // Bo, told of the request once more, said yes twice, and went back before the second was acknowledged.
    let again = || {
        let scenario = agreed().says(3900, BO, true).sent(3905, BO, BACK);
        scenario.acked(3910, BO, ANSWER, yes("active")).acked(3920, BO, BACK, yes("active"))
    };
    assert_eq!(over(again().heard(3920, ANA, WENT_BACK), 30_000).recorded("AUDIO").broken(), CLEAN);
    assert_eq!(over(again(), 30_000).broken(), ["two types"]);
}

#[test]
fn a_word_that_lies_in_a_node_that_stands_still_counts_when_it_is_read() {
    let waits = agreed().fault(3900, 9000, "suspend", "node 2").sent(4000, BO, BACK).close(5000, BO, 2);
    let waits = waits.back_with(5500, BO, "VIDEO").heard(15_000, ANA, WENT_BACK);
    let over = |scenario: Scenario, at| {
        let scenario = scenario.sent(at, ANA, "call:end").acked(at + 10, ANA, "call:end", yes("ended"));
        scenario.told_in(at + 20, BO, 4, "call:ended", json!({})).broken()
    };
    assert_eq!(over(waits, 24_000), CLEAN);
}

#[test]
fn the_record_has_the_type_that_phones_were_told() {
    assert_eq!(over(agreed(), 5000).recorded("AUDIO").broken(), ["two types"]);
    assert_eq!(
        over(asks().heard_with(7010, ANA, ANSWER, refused("No answer")), 8000).recorded("VIDEO").broken(),
        ["two types"]
    );
    // It may have been done though nobody knows.
    let unknown = asks().says(3500, BO, true).heard_with(7010, ANA, ANSWER, refused("No answer"));
    for recorded in ["AUDIO", "VIDEO"] {
        let lost = agreed().fault(4000, 4500, "redis-wipe", "redis");
        assert_eq!(over(lost, 30_000).recorded(recorded).broken(), CLEAN, "{recorded}");
    }
    assert_eq!(over(unknown, 8000).recorded("VIDEO").broken(), CLEAN);
}
