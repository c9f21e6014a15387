//! When things are to happen, decided in advance: nothing that a server does moves an arrival.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;

/// Arrivals that wait to be taken; a program that is so far behind is told late, never skipped.
const AHEAD: usize = 4096;

/// Arrivals of people who know nothing of each other: exponential gaps with the mean 1/rate.
pub struct Poisson {
    random: StdRng,
    rate: f64,
    at: f64,
    until: f64,
}

impl Poisson {
    /// `rate` arrivals per second, for as long as `duration`.
    pub fn new(rate: f64, duration: Duration, seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), rate, at: 0.0, until: duration.as_secs_f64() }
    }
}

impl Iterator for Poisson {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // 1 - u: u may be 0, and 0 has no logarithm.
        let uniform: f64 = self.random.random();
        self.at += -(1.0 - uniform).ln() / self.rate;
        (self.at < self.until).then(|| Duration::from_secs_f64(self.at))
    }
}

/// How long something lasts, one time and another.
#[derive(Clone, Copy, Debug)]
pub enum Lasts {
    Always(Duration),
    /// Each time between them is as likely.
    Between(Duration, Duration),
    /// Exponential with this mean, and no longer than `most`.
    About {
        mean: Duration,
        most: Duration,
    },
}

impl Lasts {
    pub fn draw(self, random: &mut impl Rng) -> Duration {
        match self {
            Lasts::Always(time) => time,
            Lasts::Between(least, most) => least + (most - least).mul_f64(random.random()),
            Lasts::About { mean, most } => mean.mul_f64(-(1.0 - random.random::<f64>()).ln()).min(most),
        }
    }
}

/// `count` arrivals, `rate` per second, evenly.
pub fn even(count: usize, rate: f64) -> impl Iterator<Item = Duration> + Send + 'static {
    (0..count).map(move |index| Duration::from_secs_f64(index as f64 / rate))
}

/// Tells each arrival when its time has come, as the instant that was planned. A thread of its own, because the
/// runtime's timers are only good to a millisecond.
pub fn start(
    start: Instant,
    arrivals: impl Iterator<Item = Duration> + Send + 'static,
) -> std::io::Result<mpsc::Receiver<Instant>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::Builder::new().name("schedule".into()).spawn(move || {
        for arrival in arrivals {
            let at = start + arrival;
            let left = at.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                std::thread::sleep(left);
            }
            if sender.blocking_send(at).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let arrivals: Vec<f64> = Poisson::new(200.0, Duration::from_secs(500), 7).map(|at| at.as_secs_f64()).collect();
        // 100,000 expected; the standard deviation of the count is its root, 316.
        assert!((98_700..=101_300).contains(&arrivals.len()), "{} arrivals", arrivals.len());
        let gaps: Vec<f64> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 200.0 - 1.0).abs() < 0.02, "mean gap {mean}");
        // Exponential: the standard deviation is the mean. Even arrivals would have none.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "deviation {} of mean {mean}", variance.sqrt());
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals() {
        let arrivals = |seed| Poisson::new(50.0, Duration::from_secs(5), seed).collect::<Vec<_>>();
        assert_eq!(arrivals(1), arrivals(1));
        assert_ne!(arrivals(1), arrivals(2));
    }

    #[test]
    fn times_keep_to_their_bounds_and_mean() {
        let (second, mut random) = (Duration::from_secs(1), StdRng::seed_from_u64(1));
        let mut draw = |lasts: Lasts| (0..10_000).map(|_| lasts.draw(&mut random)).collect::<Vec<_>>();
        assert!(draw(Lasts::Always(second)).iter().all(|time| *time == second));
        for (lasts, mean) in [
            (Lasts::Between(2 * second, 20 * second), 11.0),
            // What is cut off is missing: mean × (1 - e^-5).
            (Lasts::About { mean: 6 * second, most: 30 * second }, 5.96),
        ] {
            let times = draw(lasts);
            let found = times.iter().sum::<Duration>().as_secs_f64() / times.len() as f64;
            assert!((found / mean - 1.0).abs() < 0.03, "{lasts:?}: {found}");
            assert!(times.iter().all(|time| *time <= 30 * second), "{lasts:?}");
        }
    }

    #[test]
    fn even_arrivals() {
        let at: Vec<u128> = even(3, 500.0).map(|at| at.as_millis()).collect();
        assert_eq!(at, [0, 2, 4]);
    }

    #[tokio::test]
    async fn an_arrival_is_told_as_planned_not_as_taken() {
        let begin = Instant::now();
        let mut schedule = start(begin, even(20, 1000.0)).expect("a thread");
        let mut told = Vec::new();
        while let Some(at) = schedule.recv().await {
            assert!(Instant::now() >= at);
            told.push((at - begin).as_millis());
        }
        assert_eq!(told, (0..20).collect::<Vec<_>>());
    }
}
