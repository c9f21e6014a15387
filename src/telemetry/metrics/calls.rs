//! What calls were like.

use metrics::{counter, histogram};

use super::accept_missed;
use crate::call::{Call, EndReason, Media};

/// Seconds that people ring and talk, up to four hours.
pub(super) const BUCKETS: [f64; 16] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0];

fn label(media: Option<Media>) -> &'static str {
    match media {
        Some(Media::Audio) => "audio",
        Some(Media::Video) => "video",
        Some(Media::Other(_)) | None => "unknown",
    }
}

pub fn call_ended(call: &Call) {
    let Some(end) = call.end() else { return };
    counter!("signaling_calls_ended_total", "reason" => end.reason.name()).increment(1);
    if let EndReason::HungUp { accept_missed: true, .. } = end.reason {
        accept_missed();
    }
    if let Some(rang) = call.ring_time() {
        let media = label(call.dialled_type().map(Media::read));
        histogram!("signaling_call_ring_seconds", "type" => media).record(rang);
    }
    for (media, talk) in call.talk_by_type() {
        histogram!("signaling_call_talk_seconds", "type" => label(media)).record(talk);
    }
}

/// A request for video came to something, or the call went back to audio.
pub fn type_changed(before: &Call, after: &Call) {
    let went_back = after.changes().len() > before.changes().len() && after.media() == Some(Media::Audio);
    let answered = before.request().is_some() && after.request().is_none();
    let outcome = match after.last_answer() {
        _ if went_back => "downgraded",
        Some(answer) if answered => answer.refused.map_or("accepted", |why| why.name()),
        Some(_) | None => return,
    };
    counter!("signaling_video_switches_total", "outcome" => outcome).increment(1);
}
