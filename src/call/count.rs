//! What is counted of a call that is over, and what the counts of many say. No ids: words of closed sets and numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Call, Media, Timestamp};

/// Counted in buckets, each wider than the one before by this factor: a time that is read from them is off by a tenth at most.
const WIDER: f64 = 1.2;
/// The first bucket ends here; the last one that is told apart holds over four hours.
const NARROWEST_MS: f64 = 100.0;
const BUCKETS: u32 = 67;

/// The minute in which a call ended, since 1970, and the counters that go up by one for it: of its outcome, of the time it
/// rang, of the time it was talked. As stored: `o:<type>:<reason>:<answered>`, `r:<type>:<bucket>`, `t:<type>:<bucket>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub minute: u64,
    pub counters: Vec<String>,
}

/// Absent while it goes on.
pub fn counted(call: &Call) -> Option<Counted> {
    let end = call.end()?;
    let dialled = letter(call.dialled_type().map(Media::read));
    let answered = if end.accepted_at.is_some() { 'y' } else { 'n' };
    let mut counters = vec![format!("o:{dialled}:{}:{answered}", end.reason.name())];
    // Refused at once, it never rang.
    if let Some(rang) = call.ring_time().filter(|_| !call.version.is_first()) {
        counters.push(format!("r:{dialled}:{}", bucket(rang)));
    }
    for (media, talk) in call.talk_by_type() {
        counters.push(format!("t:{}:{}", letter(media), bucket(talk)));
    }
    Some(Counted { minute: minute(end.at), counters })
}

pub fn minute(at: Timestamp) -> u64 {
    at.as_millis() / 60_000
}

fn letter(media: Option<Media>) -> char {
    match media {
        Some(Media::Audio) => 'a',
        Some(Media::Video) => 'v',
        Some(Media::Other(_)) | None => 'x',
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the number of buckets")]
fn bucket(time: Duration) -> u32 {
    let steps = (time.as_secs_f64() * 1000.0 / NARROWEST_MS).log(WIDER).ceil();
    if steps <= 0.0 { 0 } else { (steps as u32).min(BUCKETS) }
}

/// The time that stands for a bucket: the middle of it, as its width is measured.
fn time_of(bucket: u32) -> Duration {
    let millis = NARROWEST_MS * WIDER.powf(f64::from(bucket) - 0.5);
    Duration::from_millis(if bucket == 0 { 0 } else { rounded(millis) })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hours at most")]
fn rounded(millis: f64) -> u64 {
    millis.round() as u64
}

/// What calls of a time were like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    pub calls: u64,
    /// Of these, those that were accepted.
    pub answered: u64,
    pub by_reason: BTreeMap<String, u64>,
    rang: BTreeMap<u32, u64>,
    talked: BTreeMap<u32, u64>,
}

/// All together, and by type: of the outcome and the ring that as which a call was dialled, of talk that it was of then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub all: Picture,
    /// By `AUDIO`, `VIDEO`, and `UNKNOWN` where nobody said.
    pub by_type: BTreeMap<&'static str, Picture>,
}

impl Statistics {
    /// Counters that this version does not know are passed over.
    pub fn of<'c>(counters: impl IntoIterator<Item = (&'c str, u64)>) -> Self {
        let mut statistics = Self::default();
        for (counter, count) in counters {
            let words: Vec<&str> = counter.split(':').collect();
            let Some(media) = words.get(1).and_then(|letter| name_of(letter)) else { continue };
            for picture in [&mut statistics.all, statistics.by_type.entry(media).or_default()] {
                picture.add(&words, count);
            }
        }
        statistics
    }
}

fn name_of(letter: &str) -> Option<&'static str> {
    match letter {
        "a" => Some("AUDIO"),
        "v" => Some("VIDEO"),
        "x" => Some("UNKNOWN"),
        _ => None,
    }
}

impl Picture {
    fn add(&mut self, words: &[&str], count: u64) {
        match *words {
            ["o", _, reason, answered] => {
                self.calls += count;
                self.answered += if answered == "y" { count } else { 0 };
                *self.by_reason.entry(reason.to_owned()).or_default() += count;
            }
            ["r", _, bucket] => add_to(&mut self.rang, bucket, count),
            ["t", _, bucket] => add_to(&mut self.talked, bucket, count),
            _ => {}
        }
    }

    /// Accepted calls of all, from 0 to 1; absent where there was none.
    #[expect(clippy::cast_precision_loss, reason = "no cluster has so many calls")]
    pub fn success(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.answered as f64 / self.calls as f64)
    }

    /// The time that this share of all calls that rang did not ring longer than.
    pub fn ring_time(&self, share: f64) -> Option<Duration> {
        quantile(&self.rang, share)
    }

    /// Likewise of the time that was talked.
    pub fn talk_time(&self, share: f64) -> Option<Duration> {
        quantile(&self.talked, share)
    }
}

fn add_to(buckets: &mut BTreeMap<u32, u64>, bucket: &str, count: u64) {
    if let Ok(bucket) = bucket.parse::<u32>() {
        *buckets.entry(bucket.min(BUCKETS)).or_default() += count;
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of calls"
)]
fn quantile(buckets: &BTreeMap<u32, u64>, share: f64) -> Option<Duration> {
    let total: u64 = buckets.values().sum();
    let wanted = ((total as f64 * share).ceil() as u64).max(1);
    let mut seen = 0;
    buckets.iter().find_map(|(bucket, count)| {
        seen += count;
        (seen >= wanted).then(|| time_of(*bucket))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_read_from_its_bucket_is_off_by_a_tenth() {
        for millis in [150_u64, 999, 1000, 5_000, 29_999, 60_000, 3_600_000, 14_400_000] {
            let read = rounded(time_of(bucket(Duration::from_millis(millis))).as_secs_f64() * 1000.0);
            assert!(read.abs_diff(millis) * 10 <= millis, "{millis} is read as {read}");
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::from_secs(1_000_000)), BUCKETS, "however long");
        assert_eq!(time_of(0), Duration::ZERO);
    }

    #[test]
    fn medians_and_percentiles_come_from_the_counts() {
        let bucket = |seconds| bucket(Duration::from_secs(seconds));
        let counters = [
            ("o:a:hung_up:y".to_owned(), 90),
            ("o:a:no_answer:n".to_owned(), 5),
            ("o:v:rejected:n".to_owned(), 5),
            (format!("t:a:{}", bucket(60)), 80),
            (format!("t:a:{}", bucket(600)), 10),
            (format!("r:a:{}", bucket(4)), 100),
            ("z:a:what:a:newer:version:counts".to_owned(), 7),
            ("o:q:hung_up:y".to_owned(), 7),
        ];
        let read = Statistics::of(counters.iter().map(|(name, count)| (name.as_str(), *count)));
        assert_eq!((read.all.calls, read.all.answered, read.all.success()), (100, 90, Some(0.9)));
        assert_eq!(read.all.by_reason["hung_up"], 90);
        let near = |time: Option<Duration>, seconds: u64| time.unwrap().as_secs_f64() / seconds as f64;
        assert!((0.9..1.1).contains(&near(read.all.talk_time(0.5), 60)));
        assert!((0.9..1.1).contains(&near(read.all.talk_time(0.95), 600)));
        assert!((0.9..1.1).contains(&near(read.all.ring_time(0.5), 4)));
        assert_eq!(read.by_type["VIDEO"].talk_time(0.5), None);
        assert_eq!(read.by_type["VIDEO"].success(), Some(0.0));
        assert_eq!(Statistics::of([]).all.success(), None);
    }
}
