//! The course of a call as a sequence: who said what to which node. One list for the page and for a terminal.

use std::fmt::Write;

use serde::Serialize;

use super::super::calls::named;
use crate::call::{Call, Device, Milestone, Role, Span, Timestamp, What, plain, why};

/// One arrow of the diagram, or a note beside a column.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    /// Milliseconds since the epoch.
    at: u64,
    /// Milliseconds since the call was created.
    after_ms: u64,
    way: Way,
    /// The other end beside the node: a phone, or the backend; absent in a note about the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// From the party to the node.
    ToNode,
    /// From the node to the party.
    ToParty,
    /// Nothing travelled.
    Note,
}

const BACKEND: &str = "backend";

pub(super) fn steps(call: &Call, timeline: &[Milestone]) -> Vec<Step> {
    timeline.iter().map(|milestone| step(call, milestone)).collect()
}

fn step(call: &Call, milestone: &Milestone) -> Step {
    let way = match milestone.what {
        What::Created
        | What::Ringing
        | What::Accepted
        | What::Bound
        | What::AcceptRefused
        | What::UpgradeRequested
        | What::Upgraded
        | What::Downgraded => Way::ToNode,
        What::Delivered | What::PushRequired | What::UpgradeRefused => Way::ToParty,
        What::Ended if milestone.party.is_some() => Way::ToNode,
        What::NoSession
        | What::Deaf
        | What::Undelivered
        | What::Absent
        | What::Returned
        | What::Doubtful
        | What::Ended
        | What::Restored
        | What::Other(_) => Way::Note,
    };
    let party = match milestone.what {
        What::PushRequired => Some(BACKEND.into()),
        // Nobody's device: the user is in the text.
        What::NoSession => None,
        _ => milestone.party.map(|party| phone(call, party, &milestone.device)),
    };
    let what = milestone.what.name();
    let text = match (&milestone.reason, milestone.what, milestone.party) {
        (_, What::NoSession, Some(party)) => format!("{what} of {}", call.party(party).user),
        (Some(reason), ..) => format!("{what}, {}", plain(reason)),
        (None, ..) => what.into(),
    };
    let after = milestone.at.since(call.created_at).as_millis();
    Step {
        at: milestone.at.as_millis(),
        after_ms: u64::try_from(after).unwrap_or(u64::MAX),
        // A note about a phone stands with it, one about nobody with the node.
        way,
        party,
        node: milestone.node.as_ref().map(ToString::to_string),
        text,
    }
}

/// A column: a user's device, or the backend where it spoke for him.
fn phone(call: &Call, party: Role, device: &Device) -> String {
    let user = &call.party(party).user;
    match named(device) {
        Some(device) => format!("{user} {}", plain(&device)),
        None if device.is_known() => user.to_string(),
        None => format!("{BACKEND} for {user}"),
    }
}

/// The call for a terminal: a head, a line for each step, and the sentence.
pub(super) fn text(call: &Call, timeline: &[Milestone], now: Timestamp) -> String {
    let steps = steps(call, timeline);
    let width = |of: fn(&Step) -> Option<&String>| {
        steps.iter().filter_map(of).map(|text| text.chars().count()).max().unwrap_or_default()
    };
    let (parties, nodes) = (width(|step| step.party.as_ref()), width(|step| step.node.as_ref()));
    let mut text = format!("{}: {} calls {}", call.wire_id, call.caller.user, call.callee.user);
    if let Some(call_type) = &call.call_type {
        let _ = write!(text, ", {}", plain(call_type));
    }
    let _ = write!(text, "; {}", call.state.name());
    if let Some(end) = call.end() {
        let _ = write!(text, ", {}", end.reason.name());
    }
    let _ = writeln!(text, "; created {}\n", call.created_at.rfc3339());
    for step in &steps {
        let span = Span(std::time::Duration::from_millis(step.after_ms)).to_string();
        let arrow = match step.way {
            Way::ToNode => "-->",
            Way::ToParty => "<--",
            Way::Note => "   ",
        };
        let (party, node) = (step.party.as_deref().unwrap_or_default(), step.node.as_deref().unwrap_or_default());
        let _ = writeln!(text, "{span:>12}  {party:parties$}  {arrow}  {node:nodes$}  {}", step.text);
    }
    let _ = write!(text, "\n{}\n", why(call, timeline, now).sentence);
    text
}
