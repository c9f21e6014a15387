//! Latencies, and how figures are shown.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies in microseconds to three digits, up to a minute.
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are a constant"))
    }
}

impl Latency {
    pub fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of `other`'s.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency below which the share `quantile` lies, in milliseconds.
    pub fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub fn max(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    pub fn to_json(&self) -> Value {
        if self.0.is_empty() {
            return json!({"count": 0});
        }
        json!({
            "count": self.count(), "mean_ms": round(self.0.mean() / 1000.0),
            "p50_ms": round(self.at(0.50)), "p90_ms": round(self.at(0.90)), "p95_ms": round(self.at(0.95)),
            "p99_ms": round(self.at(0.99)), "p999_ms": round(self.at(0.999)), "max_ms": round(self.max()),
            "histogram": self.histogram(),
        })
    }

    /// How many lie up to each bound in milliseconds and above the one before, each bound a quarter above the last.
    fn histogram(&self) -> Vec<(f64, u64)> {
        let steps = self
            .0
            .iter_log(50, 1.25)
            .map(|step| (round(step.value_iterated_to() as f64 / 1000.0), step.count_since_last_iteration()));
        steps.collect()
    }

    /// A row under [`HEAD`].
    pub fn row(&self, name: &str) -> String {
        if self.0.is_empty() {
            return format!("{name:<20}{:>8}", 0);
        }
        let (count, max) = (self.count(), self.max());
        let [p50, p95, p99, p999] = [0.50, 0.95, 0.99, 0.999].map(|quantile| self.at(quantile));
        // Arrows are wider in bytes than on paper; the padding counts characters.
        format!("{name:<20}{count:>8}{p50:>9.2}{p95:>9.2}{p99:>9.2}{p999:>9.2}{max:>9.2}")
    }
}

pub const HEAD: &str = "latency, ms            count      p50      p95      p99    p99.9      max";

/// To three digits after the point.
pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A figure, or a dash where it was not measured.
pub fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds() {
        let mut latency = Latency::default();
        (1..=1000).for_each(|micros| latency.add(Duration::from_micros(micros * 10)));
        assert!((latency.at(0.5) - 5.0).abs() < 0.02, "{}", latency.at(0.5));
        assert!((latency.at(0.99) - 9.9).abs() < 0.02);
        latency.add(Duration::from_secs(3600));
        assert!(latency.max() >= 60_000.0, "what is beyond the scale is counted at its end");
    }

    #[test]
    fn rows_stand_under_their_heads() {
        let mut latency = Latency::default();
        latency.add(Duration::from_millis(1));
        assert_eq!(latency.row("initiate→incoming").chars().count(), HEAD.chars().count());
    }
}
