//! The words of a call: sides, plans, what is sent, heard and waited for.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Caller,
    Callee,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::Caller => "caller",
            Side::Callee => "callee",
        }
    }
}

/// How a call goes, decided before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The callee accepts, then one side hangs up.
    Talk {
        ended_by: Side,
    },
    Reject,
    Cancel,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Initiate,
    Accept,
    Reject,
    Cancel,
    End,
}

impl Verb {
    pub const ALL: [Verb; 5] = [Verb::Initiate, Verb::Accept, Verb::Reject, Verb::Cancel, Verb::End];

    pub fn event(self) -> &'static str {
        match self {
            Verb::Initiate => "call:initiate",
            Verb::Accept => "call:accept",
            Verb::Reject => "call:reject",
            Verb::Cancel => "call:cancel",
            Verb::End => "call:end",
        }
    }

    /// The state that its acknowledgement names.
    pub fn leads_to(self) -> Option<&'static str> {
        match self {
            Verb::Initiate => None,
            Verb::Accept => Some("active"),
            Verb::Reject | Verb::Cancel | Verb::End => Some("ended"),
        }
    }
}

/// What is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Incoming,
    Ringing,
    Accepted,
    Rejected,
    RejectConfirmed,
    Cancelled,
    Ended,
    Timeout,
    Busy,
}

impl Event {
    const ALL: [Event; 9] = [
        Event::Incoming,
        Event::Ringing,
        Event::Accepted,
        Event::Rejected,
        Event::RejectConfirmed,
        Event::Cancelled,
        Event::Ended,
        Event::Timeout,
        Event::Busy,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Event::Incoming => "call:incoming",
            Event::Ringing => "call:ringing",
            Event::Accepted => "call:accepted",
            Event::Rejected => "call:rejected",
            Event::RejectConfirmed => "call:reject:confirmed",
            Event::Cancelled => "call:cancelled",
            Event::Ended => "call:ended",
            Event::Timeout => "call:timeout",
            Event::Busy => "call:busy",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Event::ALL.into_iter().find(|event| event.name() == name)
    }

    /// Tells its hearer that the call is over.
    pub fn ends(self) -> bool {
        match self {
            Event::Rejected | Event::Cancelled | Event::Ended | Event::Timeout | Event::Busy => true,
            Event::Incoming | Event::Ringing | Event::Accepted | Event::RejectConfirmed => false,
        }
    }
}

/// What a call waits for once its cause was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Awaited {
    Incoming,
    /// Not owed: a command may overtake it.
    Ringing,
    Accepted,
    Rejected,
    RejectConfirmed,
    Cancelled,
    Ended,
    InitiateAck,
    AcceptAck,
    RejectAck,
    CancelAck,
    EndAck,
}

impl Awaited {
    pub const ALL: [Awaited; 12] = [
        Awaited::Incoming,
        Awaited::Ringing,
        Awaited::Accepted,
        Awaited::Rejected,
        Awaited::RejectConfirmed,
        Awaited::Cancelled,
        Awaited::Ended,
        Awaited::InitiateAck,
        Awaited::AcceptAck,
        Awaited::RejectAck,
        Awaited::CancelAck,
        Awaited::EndAck,
    ];

    /// From what, to what.
    pub fn name(self) -> &'static str {
        match self {
            Awaited::Incoming => "initiate→incoming",
            Awaited::Ringing => "initiate→ringing",
            Awaited::Accepted => "accept→accepted",
            Awaited::Rejected => "reject→rejected",
            Awaited::RejectConfirmed => "reject→confirmed",
            Awaited::Cancelled => "cancel→cancelled",
            Awaited::Ended => "end→ended",
            Awaited::InitiateAck => "initiate→ack",
            Awaited::AcceptAck => "accept→ack",
            Awaited::RejectAck => "reject→ack",
            Awaited::CancelAck => "cancel→ack",
            Awaited::EndAck => "end→ack",
        }
    }

    pub fn ack_of(verb: Verb) -> Self {
        match verb {
            Verb::Initiate => Awaited::InitiateAck,
            Verb::Accept => Awaited::AcceptAck,
            Verb::Reject => Awaited::RejectAck,
            Verb::Cancel => Awaited::CancelAck,
            Verb::End => Awaited::EndAck,
        }
    }

    /// What has to be heard after `verb`.
    pub fn owed_after(verb: Verb) -> &'static [Awaited] {
        match verb {
            Verb::Initiate => &[Awaited::InitiateAck, Awaited::Incoming],
            Verb::Accept => &[Awaited::AcceptAck, Awaited::Accepted],
            Verb::Reject => &[Awaited::RejectAck, Awaited::Rejected, Awaited::RejectConfirmed],
            Verb::Cancel => &[Awaited::CancelAck, Awaited::Cancelled],
            Verb::End => &[Awaited::EndAck, Awaited::Ended],
        }
    }

    pub fn bit(self) -> u16 {
        1 << self as u16
    }
}
