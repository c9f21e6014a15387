//! Real nodes in one process, real sockets, real HTTP, real Redis. One binary: it links once.

mod harness;

mod absence;
mod auth;
mod calls;
mod cluster;
mod config;
mod contention;
mod faults;
mod http;
mod incidents;
mod layering;
mod payloads;
mod races;
