//! The tables of docs/semantics.md: generated from [`step()`] and [`notifications()`], and compared with the page.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::*;

const PAGE: &str = include_str!("../../../docs/semantics.md");
const COMMANDS: &str = include_str!("../command.rs");

/// A row: what it is called, how the call is prepared for it, and the command.
type Row = (&'static str, fn(Call) -> Call, Command);

fn as_it_is(call: Call) -> Call {
    call
}

fn with_push(call: Call) -> Call {
    Call { push: Push::Due(at(9)), ..call }
}

fn with_question(call: Call) -> Call {
    Call { inquiry: Some(Inquiry { at: at(28), asked: 0 }), ..call }
}

fn with_absent_caller(mut call: Call) -> Call {
    call.caller.absent_since = Some(at(3));
    call.caller.grace_until = Some(at(60));
    call
}

fn asked_by_callee(call: Call) -> Call {
    let open = Some(Request { number: 1, by: Role::Callee, at: at(3), until: at(33) });
    Call {
        switching: Some(Switching { count: 1, dialled: Some("AUDIO".into()), open, ..Switching::default() }),
        ..call
    }
}

fn as_video(call: Call) -> Call {
    Call { call_type: Some("VIDEO".into()), ..call }
}

fn born_with_7(call: Call) -> Call {
    Call { born: 7, ..call }
}

fn unknown_after_a_loss(call: Call) -> Call {
    Call { unvouched: true, ..call }
}

fn other_phone(user: &str) -> Actor {
    actor(user, named("x9"))
}

/// What phones and the backend ask for.
fn asked() -> Vec<Row> {
    let accept = |by| Command::Accept { by };
    let reject = |by| Command::Reject { by, reason: None };
    let cancel = |by| Command::Cancel { by, reason: None };
    let end = |by| Command::End { by, reason: None };
    let video = |by| Command::RequestVideo { by };
    let answer = |by, accepted| Command::AnswerVideo { by, accepted, reason: None };
    let dial = |receiver: &str| Command::Initiate {
        by: ana(),
        receiver: user(receiver),
        call_type: Some("AUDIO".into()),
        ring_details: None,
        nonce: 0,
    };
    vec![
        ("initiate again, the same call", as_it_is, dial("bo")),
        ("initiate again, another receiver or type", as_it_is, dial("cleo")),
        ("initiate by anybody but the caller", as_it_is, initiate(actor("eve", named("e1")))),
        ("ring confirmed by a device of the callee", as_it_is, Command::Alert { by: bo() }),
        ("accept by the callee", as_it_is, accept(bo())),
        ("accept by another device of the callee", as_it_is, accept(other_phone("bo"))),
        ("accept over HTTP, no device named", as_it_is, accept(over_http("bo"))),
        ("reject by the callee", as_it_is, reject(bo())),
        ("reject by another device of the callee", as_it_is, reject(other_phone("bo"))),
        ("reject over HTTP", as_it_is, reject(over_http("bo"))),
        ("cancel by the caller", as_it_is, cancel(ana())),
        ("cancel by the callee", as_it_is, cancel(bo())),
        ("end by the caller", as_it_is, end(ana())),
        ("end by the callee", as_it_is, end(bo())),
        ("asks for video, of an audio call", as_it_is, video(bo())),
        ("asks again, unanswered", asked_by_callee, video(bo())),
        ("asks too, while the other side asks", asked_by_callee, video(ana())),
        ("asks for video, of a video call", as_video, video(bo())),
        ("asks from another device", as_it_is, video(other_phone("bo"))),
        ("answers yes", asked_by_callee, answer(ana(), true)),
        ("answers no", asked_by_callee, answer(ana(), false)),
        ("answers the own request", asked_by_callee, answer(bo(), true)),
        ("answers, and nobody asks", as_it_is, answer(ana(), true)),
        ("goes back to audio", as_video, Command::Downgrade { by: ana() }),
        ("goes back to audio, of an audio call", as_it_is, Command::Downgrade { by: ana() }),
        ("asks or answers as a stranger", asked_by_callee, answer(actor("eve", named("e1")), true)),
        ("end over HTTP, nobody named", as_it_is, Command::Dismiss { reason: None }),
        ("accept or reject by anybody but the callee", as_it_is, accept(ana())),
        ("cancel or end by a stranger", as_it_is, end(actor("eve", named("e1")))),
    ]
}

/// What nodes say among themselves.
fn concluded() -> Vec<Row> {
    let dials = |dialer: Actor, receiver: &str| Command::Yield { dialer, receiver: user(receiver) };
    let leave = |role| Command::Leave { role, at: at(4), acks: false, found: at(4) };
    vec![
        ("`Yield`: the caller dials again from this device", as_it_is, dials(ana(), "cleo")),
        ("`Yield`: the caller dials again from another device", as_it_is, dials(other_phone("ana"), "cleo")),
        ("`Yield`: the callee dials somebody else", as_it_is, dials(bo(), "cleo")),
        ("`Yield`: the callee dials the caller (glare)", as_it_is, dials(bo(), "ana")),
        ("`Yield`: somebody dials a party", as_it_is, dials(actor("eve", named("e1")), "bo")),
        (
            "`Yield`: the same, no node knows the call after a loss",
            unknown_after_a_loss,
            dials(actor("eve", named("e1")), "bo"),
        ),
        ("`Displace`: a newer call of the caller takes the line", as_it_is, Command::Displace { by: Role::Caller }),
        ("`Displace`: a newer call of the callee takes the line", as_it_is, Command::Displace { by: Role::Callee }),
        (
            "`Preempt`: the backend reports another accepted call of the caller",
            as_it_is,
            Command::Preempt { by: Role::Caller },
        ),
        (
            "`GiveWay`: after a loss another call has the line, this one was not accepted",
            as_it_is,
            Command::GiveWay { by: Role::Caller, accepted: false },
        ),
        ("`GiveWay`: the same, this one was accepted", as_it_is, Command::GiveWay { by: Role::Caller, accepted: true }),
        ("`Evict`: the id is another caller's", as_it_is, Command::Evict { rank: 1 }),
        ("`Withdraw`: the caller was told that it could not be made", born_with_7, Command::Withdraw { nonce: 7 }),
        ("`Leave`: the caller's device has no session left", as_it_is, leave(Role::Caller)),
        ("`Leave`: the callee's device has no session left", as_it_is, leave(Role::Callee)),
        ("`Return`: an absent caller is back", with_absent_caller, Command::Return { role: Role::Caller }),
        ("`Push`: no session of the callee can confirm", with_push, Command::Push),
        ("`Verify`: somebody was told busy because of this call", as_it_is, Command::Verify),
        ("`Doubt`: the store came back older, no node knows the call", as_it_is, Command::Doubt),
        ("`KeepDeadline`: the backend knows no better than the ring deadline", with_question, Command::KeepDeadline),
        ("`Report`: the backend reports an end that happened here", as_it_is, Command::Report),
        ("`Expire`: no deadline is due", as_it_is, Command::Expire(PartyPresence::default())),
    ]
}

/// A cell in words.
fn cell(call: &Call, command: &Command) -> String {
    cell_at(call, command, 4)
}

fn cell_at(call: &Call, command: &Command, now: u64) -> String {
    match step(call, command, at(now)) {
        Ok(Decision { next: None, .. }) => "answered as before".into(),
        Ok(Decision { next: Some(next), tell_caller, tell_callee }) => {
            let told = match (tell_caller, tell_callee) {
                (true, true) => "; both told",
                (true, false) => "; caller told",
                (false, true) => "; callee told",
                (false, false) => "",
            };
            format!("{}{told}", change(call, &next))
        }
        Err(Refused { refusal, record }) => {
            let kept = if record.is_some() { ", recorded" } else { "" };
            let refused = match refusal {
                Refusal::NotAParticipant => "`not_a_participant`",
                Refusal::InvalidState => "`invalid_state`",
                Refusal::AnsweredElsewhere => "`invalid_state`, answered elsewhere",
                Refusal::Over => "`invalid_state`, `call:ended` to the sender",
                Refusal::NotDue => "–",
            };
            format!("{refused}{kept}")
        }
    }
}

fn change(call: &Call, next: &Call) -> String {
    let is_doubtful = |call: &Call| matches!(call.state, State::Active { doubtful: true, .. });
    match (next.end(), call.end()) {
        (Some(end), None) => {
            let by = match end.reason {
                EndReason::HungUp { by: Some(Role::Caller), .. } => " by the caller",
                EndReason::HungUp { by: Some(Role::Callee), .. } => " by the callee",
                EndReason::HungUp { by: None, .. } => " by nobody",
                _ => "",
            };
            let missed = matches!(end.reason, EndReason::HungUp { accept_missed: true, .. });
            format!("→ `{}`{by}{}", end.reason.name(), if missed { ", accept missed" } else { "" })
        }
        _ if next.state.name() != call.state.name() => format!("→ {}", next.state.name()),
        _ if is_doubtful(next) != is_doubtful(call) => {
            if is_doubtful(next) { "→ doubtful" } else { "→ no longer doubtful" }.into()
        }
        _ if next.media() != call.media() => format!("→ {}", next.media().map_or("unknown", Media::name)),
        _ if next.request() != call.request() => if next.request().is_some() { "asked" } else { "refused" }.into(),
        _ => "recorded".into(),
    }
}

fn states() -> [Call; 6] {
    let cancelled = after(&ringing(), Command::Cancel { by: ana(), reason: None }, 3);
    let hung_up = after(&active(), Command::End { by: ana(), reason: None }, 3);
    [trying(), ringing(), active(), doubtful(), cancelled, hung_up]
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| command | trying | ringing | active | active, doubtful | ended by the caller's `cancel` | ended by the caller's `end` |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (what, prepared, command) in rows {
        let cells: Vec<String> = states().map(|call| cell(&prepared(call), command)).into();
        writeln!(table, "| {what} | {} |", cells.join(" | ")).unwrap();
    }
    table
}

/// What a deadline that is due means, by what the store says of the parties then.
fn deadlines() -> String {
    let deployed = |mut call: Call| {
        call.caller.acks = false;
        call.callee.acks = false;
        call
    };
    let left = |call: &Call, role, second| {
        after(call, Command::Leave { role, at: at(second), acks: false, found: at(second) }, second)
    };
    let alone = left(&active(), Role::Caller, 10);
    let alone_deployed = left(&deployed(active()), Role::Caller, 10);
    let doubted = after(&alone_deployed, Command::Expire(PartyPresence::default()), 70);
    let both = after(&left(&doubted, Role::Callee, 80), Command::Expire(PartyPresence::default()), 140);
    let unseen = |mut call: Call| {
        call.caller.attended = false;
        call.callee.attended = false;
        call
    };
    let [away, back] = [PartyPresence::default(), PartyPresence { caller_present: true, ..PartyPresence::default() }];
    let [mass_disconnect, unsure] = [
        PartyPresence { mass_disconnect: true, ..PartyPresence::default() },
        PartyPresence { unsure: true, ..PartyPresence::default() },
    ];
    let rows = [
        ("ring deadline", ringing(), away, 30),
        ("ring deadline, the backend is still asked about the call", with_question(ringing()), away, 30),
        ("push deadline, no device confirmed", with_push(trying()), away, 9),
        ("grace of a ringing caller, still away", left(&ringing(), Role::Caller, 3), away, 13),
        ("the same, a session is there again", left(&ringing(), Role::Caller, 3), back, 13),
        (
            "the same, much of the cluster vanished at once: two more minutes, once",
            left(&ringing(), Role::Caller, 3),
            mass_disconnect,
            13,
        ),
        ("the same, the store failed writes a moment ago", left(&ringing(), Role::Caller, 3), unsure, 13),
        ("grace of a party to an accepted call, `acks` promised", alone.clone(), away, 70),
        ("the same, a session is there again", alone, back, 70),
        ("grace of a party, no `acks`", alone_deployed.clone(), away, 70),
        ("the same, much of the cluster vanished at once: two more minutes, once", alone_deployed, mass_disconnect, 70),
        ("grace of the second party, neither with `acks`", left(&doubted, Role::Callee, 80), away, 140),
        ("`LOST_CALL_SECS` of both being away", both.clone(), away, 680),
        ("the same, a session is there again", both, back, 680),
        ("request for video, 30 s without an answer", asked_by_callee(active()), away, 33),
        (
            "request for video, who is asked is away for 10 s",
            asked_by_callee(left(&active(), Role::Caller, 4)),
            away,
            14,
        ),
        ("the same, a session is there again", asked_by_callee(left(&active(), Role::Caller, 4)), back, 14),
        (
            "the same, the store failed writes a moment ago",
            asked_by_callee(left(&active(), Role::Caller, 4)),
            unsure,
            14,
        ),
        ("maximum duration, `acks` on either side", active(), away, 14_402),
        ("maximum duration, no `acks`, somebody is there", deployed(active()), away, 14_402),
        ("maximum duration, no party ever had a session", unseen(deployed(active())), away, 14_402),
    ];
    let mut table = String::from("| due | call before | decision |\n| --- | --- | --- |\n");
    for (what, call, presence, now) in rows {
        let doubtful = if matches!(call.state, State::Active { doubtful: true, .. }) { ", doubtful" } else { "" };
        let decision = cell_at(&call, &Command::Expire(presence), now);
        writeln!(table, "| {what} | {}{doubtful} | {decision} |", call.state.name()).unwrap();
    }
    table
}

/// What the sessions of both sides are to have been told of a call as it stands.
fn heard() -> String {
    let [by_ana, by_bo] = [ana(), bo()];
    let end = |by: &Actor| Command::End { by: by.clone(), reason: None };
    let reject = Command::Reject { by: bo(), reason: None };
    let cancelled = after(&ringing(), Command::Cancel { by: ana(), reason: None }, 3);
    let late = step(&cancelled, &Command::Accept { by: bo() }, at(4)).unwrap_err().record.unwrap();
    let mut busy_at_once = trying().ended(EndReason::Busy, None, None, at(0));
    busy_at_once.caller.session = None;
    let asked = after(&active(), Command::RequestVideo { by: ana() }, 3);
    let [yes, no] = [true, false].map(|accepted| Command::AnswerVideo { by: bo(), accepted, reason: None });
    let raised = |mut call: Call| {
        call.version.counter += 1;
        call
    };
    let rows = [
        ("trying", trying()),
        ("ringing", ringing()),
        ("active", active()),
        ("active, the callee asks for video", asked_by_callee(active())),
        ("active, the caller's request was accepted", after(&asked, yes, 4)),
        ("active, the caller's request was declined", after(&asked, no, 4)),
        ("active, the caller went back to audio", after(&as_video(active()), Command::Downgrade { by: ana() }, 4)),
        ("`hung_up` by the callee, the caller's request was open", after(&asked, end(&by_bo), 4)),
        ("`cancelled`, `superseded`", cancelled),
        ("`caller_gone`", ringing().ended(EndReason::CallerGone, None, None, at(13))),
        ("`rejected`", after(&ringing(), reject, 3)),
        ("`no_answer`", after(&ringing(), Command::Expire(PartyPresence::default()), 30)),
        ("`busy`, a ring that gave way", raised(after(&ringing(), Command::Displace { by: Role::Callee }, 3))),
        ("`busy` at once", busy_at_once),
        ("`hung_up` by the caller while it rang", after(&ringing(), end(&by_ana), 3)),
        ("`hung_up` by the callee while it rang", after(&ringing(), end(&by_bo), 3)),
        ("`hung_up` by the caller", after(&active(), end(&by_ana), 3)),
        ("`hung_up` by the callee", after(&active(), end(&by_bo), 3)),
        ("`hung_up` by nobody (the backend)", after(&active(), Command::Dismiss { reason: None }, 3)),
        ("`lost`", active().ended(EndReason::Lost { party: Role::Caller }, None, None, at(70))),
        ("`max_duration`", active().ended(EndReason::MaxDuration, None, None, at(70))),
        ("`cancelled`, and an accept lost against it", *late),
    ];
    let mut table = String::from(
        "| call | sessions of the caller | the callee's device of the answer | other devices of the callee |\n| --- | --- | --- | --- |\n",
    );
    for (what, call) in rows {
        let notifications = |role, device: Device| {
            let notifications: Vec<String> = notifications(&call, role, &device, None).iter().map(spoken).collect();
            if notifications.is_empty() { "–".to_owned() } else { notifications.join(", then ") }
        };
        let cells = [
            notifications(Role::Caller, named("a1")),
            notifications(Role::Callee, named("b1")),
            notifications(Role::Callee, named("b2")),
        ];
        writeln!(table, "| {what} | {} |", cells.join(" | ")).unwrap();
    }
    table
}

fn spoken(notification: &Notification) -> String {
    match notification {
        Notification::Incoming => "`call:incoming`".into(),
        Notification::Ringing => "`call:ringing`".into(),
        Notification::Accepted => "`call:accepted`".into(),
        Notification::Rejected { reason } => format!("`call:rejected` {reason}"),
        Notification::Cancelled { reason } => format!("`call:cancelled` {reason}"),
        Notification::Ended { reason, .. } => format!("`call:ended` {reason}"),
        Notification::Timeout => "`call:timeout`".into(),
        Notification::Busy => "`call:busy`".into(),
        Notification::UpgradeRequest { .. } => "`call:upgrade:request`".into(),
        Notification::UpgradeResponse { reason: None, .. } => "`call:upgrade:response` accepted".into(),
        Notification::UpgradeResponse { reason: Some(reason), .. } => format!("`call:upgrade:response` {reason}"),
        Notification::Downgraded { .. } => "`call:downgraded`".into(),
    }
}

#[test]
fn the_tables_of_the_specification_are_generated() {
    let tables = [
        ("asked", table(&asked())),
        ("concluded", table(&concluded())),
        ("deadlines", deadlines()),
        ("heard", heard()),
    ];
    let old: Vec<String> = tables
        .into_iter()
        .filter(|(_, table)| !PAGE.contains(table.trim_end()))
        .map(|(name, table)| format!("table {name}:\n{table}"))
        .collect();
    assert!(old.is_empty(), "docs/semantics.md is old, put these in the place of its tables:\n{}", old.join("\n"));
}

/// A command that is added and has no row would be one that the page is silent about.
#[test]
fn every_command_has_a_row_in_the_specification() {
    let body = COMMANDS.split("pub enum Command {\n").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
    let is_variant = |line: &&str| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase);
    let name = |line: &str| line.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    let declared: BTreeSet<String> = body.lines().filter(is_variant).map(name).collect();
    let shown: BTreeSet<String> =
        asked().iter().chain(&concluded()).map(|(_, _, command)| name(&format!("{command:?}"))).collect();
    assert!(declared.len() > 15, "{declared:?}");
    assert_eq!(declared, shown);
}
