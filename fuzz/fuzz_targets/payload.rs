//! What phones and Laravel send: the fields of an event or of an HTTP body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onlycare_signaling::call::UserId;
use onlycare_signaling::wire::{Fields, read_initiate, read_json};

fuzz_target!(|bytes: &[u8]| {
    let event: Option<Vec<serde_json::Value>> = read_json(bytes, 2);
    let payload = read_json(bytes, 1).or_else(|| event?.pop());
    let Ok(fields) = Fields::new(payload) else { return };
    let _ = (fields.call_id(), fields.user("callerId"), fields.optional_user("endedBy"), fields.reason());
    let _ = (fields.data(), fields.users("userIds", 500), fields.optional_text("deviceId"));
    let Ok(caller) = UserId::parse("USR_1") else { return };
    if let Ok(initiate) = read_initiate(fields, &caller, "Ana") {
        assert!(initiate.receiver != caller && initiate.ring_details.extra.len() <= 4096);
        assert!(!initiate.ring_details.channel_name.is_empty());
    }
});
