//! What an operator may look at: nodes, live calls, people. Nothing here changes anything.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::call::{Call, NodeId, UserId};
use crate::signaling::cluster::Members;
use crate::signaling::directory::Directory;
use crate::signaling::node::NodeContext;
use crate::store::{CallOutcome, CallStore, Generation, Lease, SessionRecord, StoreError};

/// About so many live calls at once,
const BITE: usize = 50;
/// and never more: a store may give all it has in one bite.
const CALLS_ON_A_PAGE: usize = 200;

/// A node by the lease that was read last.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub node: NodeId,
    /// How other nodes reach it.
    pub address: String,
    /// Where it says whether it is ready; empty from an older node.
    pub probe: String,
    pub is_self: bool,
    /// Its lease has not run out.
    pub lives: bool,
    pub sessions: u64,
    /// How long ago it renewed its lease, by store time.
    pub renewed_ago: Duration,
}

/// Some of the live calls, the newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct LivePage {
    /// Of the whole cluster.
    pub total: u64,
    pub calls: Vec<Call>,
    /// Where the next page begins; absent on the last.
    pub next: Option<u64>,
}

/// What the store knows of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// On nodes that may be alive.
    pub sessions: Vec<SessionRecord>,
    /// The live call on his line.
    pub line: Option<Call>,
    /// There is one that this version can't read.
    pub taken: bool,
    /// His last ended calls, newest first.
    pub outcomes: Vec<CallOutcome>,
}

/// What an operator may look at.
pub struct Inspection {
    pub(in crate::signaling) node: Arc<NodeContext>,
    pub(in crate::signaling) calls: Arc<dyn CallStore>,
    pub(in crate::signaling) directory: Arc<Directory>,
    pub(in crate::signaling) members: Arc<Members>,
}

impl Inspection {
    /// All nodes by the leases that this one read last.
    pub fn nodes(&self) -> Vec<NodeView> {
        let now = self.node.now();
        let view = |lease: Lease| NodeView {
            is_self: lease.node == self.node.id,
            lives: lease.expires_at > now,
            sessions: lease.sessions,
            renewed_ago: now.since(lease.expires_at - self.node.policy.lease),
            node: lease.node,
            address: lease.address,
            probe: lease.probe,
        };
        let mut views: Vec<NodeView> = self.members.leases().into_iter().map(view).collect();
        views.sort_by(|one, other| one.node.cmp(&other.node));
        views
    }

    /// Live calls of the whole cluster, some at once; from 0, and then from where the page before ended.
    pub async fn live_page(&self, from: u64) -> Result<LivePage, StoreError> {
        // In a generation that never was nobody vouched for anything: these are all live calls.
        let none = Generation::unknown();
        let (total, mut bite) = tokio::try_join!(self.calls.live_calls(), self.calls.unvouched(&none, from, BITE))?;
        bite.calls.truncate(CALLS_ON_A_PAGE);
        let mut calls = Vec::with_capacity(bite.calls.len());
        for read in join_all(bite.calls.iter().map(|id| self.calls.load(id))).await {
            match read {
                Ok(call) => calls.extend(call.filter(Call::is_live)),
                // Of another version.
                Err(StoreError::Corrupt { .. }) => {}
                Err(failed) => return Err(failed),
            }
        }
        calls.sort_by(|one, other| other.created_at.cmp(&one.created_at).then_with(|| one.id.cmp(&other.id)));
        Ok(LivePage { total, calls, next: bite.next })
    }

    /// A user's sessions, the call on his line, and his last ended ones.
    pub async fn person(&self, user: &UserId) -> Result<Person, StoreError> {
        let (sessions, snapshot) =
            tokio::try_join!(self.directory.sessions_of(user), self.calls.reconnect_snapshot(user))?;
        Ok(Person { sessions, line: snapshot.line, taken: snapshot.taken, outcomes: snapshot.outcomes })
    }
}
