//! What the store holds, of whatever version wrote it: every command may meet it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onlycare_signaling::call::{Actor, Call, Command, Device, Role, Timestamp, PartyPresence, contend, step};

fuzz_target!(|bytes: &[u8]| {
    let Ok(call) = serde_json::from_slice::<Call>(bytes) else { return };
    let now = Timestamp::from_millis(u64::from(bytes.len() as u32) << 20);
    let _ = (call.deadline(), call.duration());
    let by = Actor { user: call.callee.user.clone(), device: Device::Unnamed, acks: true, session: None, token: None };
    let reason = Some("r".to_owned());
    let commands = [
        Command::Initiate { by: by.clone() },
        Command::Alert { by: by.clone() },
        Command::Accept { by: by.clone() },
        Command::Reject { by: by.clone(), reason: reason.clone() },
        Command::Cancel { by: by.clone(), reason: reason.clone() },
        Command::End { by: by.clone(), reason: reason.clone() },
        Command::Dismiss { reason },
        Command::Displace { by: Role::Caller },
        Command::Preempt { by: Role::Callee },
        Command::Leave { role: Role::Caller, at: now, acks: true, found: now },
        Command::Return { role: Role::Callee },
        Command::Expire(PartyPresence::default()),
    ];
    let _ = contend(&call, &by, &call.caller.user);
    for command in commands {
        if let Ok(decision) = step(&call, &command, now)
            && let Some(next) = decision.next
        {
            assert!(call.is_live() || !next.is_live(), "left Ended");
            let _ = next.deadline();
        }
    }
});
