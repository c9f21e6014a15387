//! How long the parties of a call had each other, as far as is known.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Call, EndReason, Media, Party, Role, Timestamp, UserId};

impl Call {
    /// From the accept to the end, an absence at the end included.
    pub fn duration(&self) -> Option<Duration> {
        let end = self.end()?;
        Some(end.at.since(end.accepted_at?))
    }

    /// From the accept to the last moment when both were there. Who was away and came back was there.
    pub fn talk(&self) -> Option<Duration> {
        let end = self.end()?;
        let until = self.absent_since().map_or(end.at, |since| since.min(end.at));
        Some(until.since(end.accepted_at?))
    }

    /// The same by type: what was sent when. Together as long as [`Call::talk()`].
    pub fn talk_by_type(&self) -> Vec<(Option<Media>, Duration)> {
        let (Some(from), Some(talk)) = (self.accepted_at(), self.talk()) else { return vec![] };
        let (until, mut since) = (from + talk, from);
        let mut media = self.dialled_type().map(Media::read);
        let mut times: Vec<(Option<Media>, Duration)> = Vec::new();
        let changes = self.changes().iter().map(|change| (change.at, change.from(), change.to));
        for (at, from, to) in changes.chain([(until, Media::Audio, Media::Audio)]) {
            let (at, is_last) = (at.clamp(since, until), at >= until);
            // Who was asked for video named the type.
            let was = if media.is_none() && !is_last { Some(from) } else { media };
            let time = at.since(since);
            let is_first = times.is_empty();
            match times.iter_mut().find(|(known, _)| *known == was) {
                Some((_, known)) => *known += time,
                None if time.is_zero() && !(is_last && is_first) => {}
                None => times.push((was, time)),
            }
            if is_last {
                break;
            }
            (since, media) = (at, Some(to));
        }
        times
    }

    /// The same as it is shown: milliseconds by `AUDIO`, `VIDEO`, and `UNKNOWN` where nobody said.
    pub fn talk_shown(&self) -> BTreeMap<&'static str, u64> {
        let name = |media: Option<Media>| media.map_or("UNKNOWN", Media::name);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.talk_by_type().into_iter().map(|(media, time)| (name(media), millis(time))).collect()
    }

    /// From the first word of it to its answer, or to its end without one; absent while it rings.
    pub fn ring_time(&self) -> Option<Duration> {
        let until = self.accepted_at().or(self.end().map(|end| end.at))?;
        Some(until.since(self.created_at))
    }

    /// From the first word of it to the first device that rang.
    pub fn time_to_confirm(&self) -> Option<Duration> {
        Some(self.rang_at?.since(self.created_at))
    }

    /// How long a party was away in all; the absence that goes on counts to the end of the call.
    pub fn time_away(&self, role: Role) -> Duration {
        let party = self.party(role);
        let last = self.end().zip(party.absent_since).map(|(end, since)| end.at.since(since));
        Duration::from_millis(party.away) + last.unwrap_or_default()
    }

    /// Since when a party was away for good when the call ended: the one who left first. Without `acks` a lost socket
    /// is no proof of absence, so it counts only where nobody said the end.
    pub fn absent_since(&self) -> Option<Timestamp> {
        let end = self.end()?;
        if end.reason == EndReason::CallerGone {
            return self.caller.absent_since;
        }
        end.accepted_at?;
        let counts = |party: &&Party| party.acks || self.is_presumed_over();
        [&self.caller, &self.callee].into_iter().filter(counts).filter_map(|party| party.absent_since).min()
    }

    /// Whether nobody said the end, it was concluded from sockets that were away.
    pub fn is_presumed_over(&self) -> bool {
        self.end().is_some_and(|end| match end.reason {
            EndReason::Lost { .. } => true,
            EndReason::MaxDuration => self.is_nobody_there(),
            EndReason::Cancelled
            | EndReason::Superseded
            | EndReason::CallerGone
            | EndReason::Rejected
            | EndReason::NoAnswer
            | EndReason::Busy
            | EndReason::HungUp { .. }
            | EndReason::Other(_) => false,
        })
    }

    /// Whether a phone of this user without `acks` may still be in a call that was called lost: it was away then, and its
    /// media may be fine.
    pub fn may_go_on_with(&self, user: &UserId) -> bool {
        let away = |party: &Party| party.absent_since.is_some();
        self.is_presumed_over() && self.role_of(user).is_some_and(|role| away(self.party(role)))
    }
}
