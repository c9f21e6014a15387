//! Packets of Engine.IO v4 and Socket.IO v5 as text: what a phone reads and writes.

use serde_json::{Value, json};

/// Between packets in the body of a long poll.
pub const SEPARATOR: char = '\x1e';
pub const PONG: &str = "3";
pub const PROBE: &str = "2probe";
pub const PROBED: &str = "3probe";
pub const UPGRADE: &str = "5";

/// What a server sends, as far as a phone cares.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// Engine.IO open, with the session's id.
    Open {
        sid: String,
    },
    Close,
    Ping,
    Noop,
    /// Socket.IO CONNECT: the token was accepted.
    Connected,
    /// CONNECT_ERROR with its text: the phone does not come back.
    Refused(String),
    /// Socket.IO DISCONNECT: the phone does not come back.
    Disconnected,
    Event {
        ack: Option<u64>,
        name: String,
        payload: Value,
    },
    Ack {
        id: u64,
        payload: Value,
    },
    /// Nothing that this protocol knows.
    Unknown(String),
}

impl Packet {
    pub fn parse(text: &str) -> Self {
        let unknown = || Packet::Unknown(text.chars().take(80).collect());
        let mut chars = text.chars();
        match chars.next() {
            Some('0') => match serde_json::from_str::<Value>(chars.as_str()) {
                Ok(open) => Packet::Open { sid: open["sid"].as_str().unwrap_or_default().to_owned() },
                Err(_) => unknown(),
            },
            Some('1') => Packet::Close,
            Some('2') => Packet::Ping,
            Some('4') => Self::parse_message(chars.as_str()).unwrap_or_else(unknown),
            Some('6') => Packet::Noop,
            _ => unknown(),
        }
    }

    fn parse_message(text: &str) -> Option<Self> {
        let mut chars = text.chars();
        let kind = chars.next()?;
        let rest = chars.as_str();
        match kind {
            '0' => Some(Packet::Connected),
            '1' => Some(Packet::Disconnected),
            '2' => {
                let (ack, array) = split_id(rest);
                let mut parts = serde_json::from_str::<Vec<Value>>(array).ok()?.into_iter();
                let Some(Value::String(name)) = parts.next() else { return None };
                let payload = parts.next().unwrap_or_default();
                Some(Packet::Event { ack, name, payload })
            }
            '3' => {
                let (id, array) = split_id(rest);
                let parts: Vec<Value> = serde_json::from_str(array).ok()?;
                Some(Packet::Ack { id: id?, payload: parts.into_iter().next().unwrap_or_default() })
            }
            '4' => {
                let error: Value = serde_json::from_str(rest).ok()?;
                Some(Packet::Refused(error["message"].as_str().unwrap_or_default().to_owned()))
            }
            _ => None,
        }
    }
}

fn split_id(text: &str) -> (Option<u64>, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (text[..digits].parse().ok(), &text[digits..])
}

/// Whose phone it is, and what it promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub user: String,
    pub device: Option<String>,
    pub acks: bool,
}

impl Who {
    /// The only phone of a user, one that acknowledges.
    pub fn phone_of(user: &str) -> Self {
        Self { user: user.to_owned(), device: None, acks: true }
    }
}

/// CONNECT to the namespace `/`.
pub fn connect(who: &Who) -> String {
    let mut auth = json!({"token": format!("token-of-{}", who.user), "userId": who.user});
    if let Some(device) = &who.device {
        auth["deviceId"] = device.as_str().into();
    }
    if who.acks {
        auth["acks"] = true.into();
    }
    format!("40{auth}")
}

/// An event whose sender asks for the acknowledgement `id`.
pub fn event(id: u64, name: &str, payload: &Value) -> String {
    format!("42{id}[\"{name}\",{payload}]")
}

/// Acknowledges an event of the server.
pub fn acknowledge(id: u64) -> String {
    format!("43{id}[]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_packets() {
        assert_eq!(Packet::parse(r#"0{"sid":"abc","upgrades":[]}"#), Packet::Open { sid: "abc".into() });
        assert_eq!(Packet::parse("1"), Packet::Close);
        assert_eq!(Packet::parse("2"), Packet::Ping);
        assert_eq!(Packet::parse("6"), Packet::Noop);
    }

    #[test]
    fn connect_answers() {
        assert_eq!(Packet::parse(r#"40{"sid":"x"}"#), Packet::Connected);
        assert_eq!(Packet::parse("41"), Packet::Disconnected);
        assert_eq!(Packet::parse(r#"44{"message":"Invalid token"}"#), Packet::Refused("Invalid token".into()));
    }

    #[test]
    fn events_with_and_without_acknowledgement() {
        let event = |ack| Packet::Event { ack, name: "call:incoming".into(), payload: json!({"callId": "CALL_1"}) };
        assert_eq!(Packet::parse(r#"42["call:incoming",{"callId":"CALL_1"}]"#), event(None));
        assert_eq!(Packet::parse(r#"4217["call:incoming",{"callId":"CALL_1"}]"#), event(Some(17)));
        let bare = Packet::Event { ack: None, name: "x".into(), payload: Value::Null };
        assert_eq!(Packet::parse(r#"42["x"]"#), bare);
    }

    #[test]
    fn acknowledgements() {
        let payload = json!({"success": true});
        assert_eq!(Packet::parse(r#"4312[{"success":true}]"#), Packet::Ack { id: 12, payload });
        assert_eq!(Packet::parse("430[]"), Packet::Ack { id: 0, payload: Value::Null });
    }

    #[test]
    fn nonsense_is_unknown_and_no_panic() {
        for text in ["", "0x", "4", "42", "42[]", "42[1]", "42{", "43[]", "44", "45", "é", "9"] {
            let parsed = Packet::parse(text);
            assert!(matches!(parsed, Packet::Unknown(_)), "{text}: {parsed:?}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let payload = json!({"callId": "CALL_1", "reason": "\"x\""});
        let read = Packet::parse(&event(5, "call:cancel", &payload));
        assert_eq!(read, Packet::Event { ack: Some(5), name: "call:cancel".into(), payload });
        assert_eq!(Packet::parse(&acknowledge(9)), Packet::Ack { id: 9, payload: Value::Null });
    }
}
