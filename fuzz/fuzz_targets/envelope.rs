//! What other nodes publish, of whatever version they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onlycare_signaling::bus::{Body, Envelope};
use onlycare_signaling::call::{Device, Role, notifications};

fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(bytes) else { return };
    if let Body::Call { call, .. } | Body::Notice { call, .. } = &envelope.body {
        for role in [Role::Caller, Role::Callee] {
            let notifications = notifications(call, role, &Device::Unnamed, None);
            assert!(notifications.len() <= 3);
        }
    }
    let text = serde_json::to_string(&envelope).expect("an envelope can be written");
    assert_eq!(serde_json::from_str::<Envelope>(&text).expect("and read again"), envelope);
});
