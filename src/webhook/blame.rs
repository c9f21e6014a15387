//! Whom a failed attempt speaks against. A receiver that refuses what is about one user's calls, whose ids he may have made
//! up, is not to be left alone by everybody's messages.

use reqwest::StatusCode;
use serde_json::Value;

use crate::store::OutboxMessage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The receiver, whatever it was sent.
    Receiver,
    /// The receiver if it fails so with several users' messages: nothing may be there, or just no such call.
    User,
    /// The message, which the receiver has read and does not want.
    Message,
}

impl Blame {
    /// By an answer that is no success.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            401 | 403 | 408 | 429 => Blame::Receiver,
            // 405 and 419 (a form of Laravel's) are those of a route that is none for webhooks.
            404 | 405 | 419 => Blame::User,
            400..=499 => Blame::Message,
            _ => Blame::Receiver,
        }
    }

    /// Who or what failed: the same again says nothing new of the receiver. Absent where it says nothing of it at all.
    pub fn culprit(self, message: &OutboxMessage) -> Option<String> {
        match self {
            Blame::Receiver => Some(message.id.clone()),
            Blame::User => Some(user_of(message).unwrap_or_else(|| message.id.clone())),
            Blame::Message => None,
        }
    }
}

/// Whose call it is about, or whose presence.
fn user_of(message: &OutboxMessage) -> Option<String> {
    let body: Value = serde_json::from_str(&message.body).ok()?;
    let user = ["callerId", "userId"].iter().find_map(|name| body["data"][*name].as_str())?;
    Some(format!("user {user}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::schedule::tests::claim;

    #[test]
    fn an_answer_speaks_against_the_receiver_the_user_or_the_message() {
        let of = |status| Blame::of(StatusCode::from_u16(status).unwrap());
        for status in [301, 302, 401, 403, 408, 429, 500, 502, 503, 504] {
            assert_eq!(of(status), Blame::Receiver, "{status}");
        }
        for status in [404, 405, 419] {
            assert_eq!(of(status), Blame::User, "{status}");
        }
        for status in [400, 402, 406, 409, 413, 415, 422, 451] {
            assert_eq!(of(status), Blame::Message, "{status}");
        }
    }

    #[test]
    fn messages_of_one_user_have_one_culprit() {
        let message = |id: &str, body: &str| OutboxMessage { id: id.into(), body: body.into(), ..claim(0).message };
        let first = message("1", r#"{"data":{"callerId":"ana"}}"#);
        let second = message("2", r#"{"data":{"userId":"ana"}}"#);
        assert_eq!(Blame::User.culprit(&first), Blame::User.culprit(&second));
        assert_ne!(Blame::Receiver.culprit(&first), Blame::Receiver.culprit(&second));
        assert_ne!(Blame::User.culprit(&first), Blame::User.culprit(&message("3", r#"{"data":{"callerId":"bo"}}"#)));
        assert_eq!(Blame::User.culprit(&message("4", "{}")), Some("4".into()));
        assert_eq!(Blame::Message.culprit(&first), None);
    }
}
