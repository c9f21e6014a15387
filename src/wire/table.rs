//! The table of events, from which both are made: what is sent, and what is said of it.

/// Every event that a node makes: to whom it goes, its name, its payload, and examples for `web/asyncapi.json`. None is
/// sent that is not described.
macro_rules! heard_events {
    ($(#[doc = $to:literal] $name:literal => $event:ident($payload:ty), $($example:literal),+;)*) => {
        pub(super) enum Event<'a> {
            $($event($payload),)*
        }

        impl Event<'_> {
            fn on_wire(&self) -> WireEvent<'static> {
                match self {
                    $(Self::$event(fields) => ($name, payload(fields)),)*
                }
            }
        }

        #[cfg(test)]
        impl<'a> Event<'a> {
            pub fn described() -> Vec<super::asyncapi_tests::Message> {
                vec![$(super::asyncapi_tests::Message::of::<$payload>($name, $to, &[$($example),+]),)*]
            }
        }
    };
}

pub(super) use heard_events;
