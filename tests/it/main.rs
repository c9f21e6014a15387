//! Real nodes in one process, real sockets, real HTTP, real Redis. One binary: it links once.

#![expect(clippy::disallowed_methods, reason = "tests make their own tasks and clients")]
#![expect(clippy::large_futures, reason = "their stories run once")]

mod harness;

mod absence;
mod auth;
mod budget;
mod deafness;
mod documents;
mod drain;
mod endings;
mod faults;
mod floods;
mod forwarding;
mod half_store;
mod http;
mod http_calls;
mod http_users;
mod ids;
mod incidents;
mod inspector;
mod layering;
mod legacy;
mod limits;
mod lines;
mod losses;
mod messages;
mod metrics;
mod old_snapshot;
mod operating;
mod payloads;
mod presence;
mod processes;
mod races;
mod redis_failover;
mod redis_trouble;
mod relays;
mod repeats;
mod statistics;
mod strangers;
mod traces;
mod upgrades;
mod versions;
mod video;
mod walls;
mod webhooks;
mod words;
