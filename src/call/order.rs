//! Which of two calls, or of two ends, is the newer one.

use super::Call;

impl Call {
    /// Which of two calls is newer; never the clock of the node that created it, but for records of nodes that know no
    /// order: the store hands out no order below its own time in microseconds.
    pub fn rank(&self) -> u64 {
        if self.order == 0 { self.created_at.as_millis().saturating_mul(1000) } else { self.order }
    }

    /// Whether this record is from before another under the same id: of an older call, or an older one of the same.
    pub fn is_before(&self, other: &Call) -> bool {
        (self.rank(), self.version.counter) < (other.rank(), other.version.counter)
    }

    /// The same of its end, for a call that is over.
    pub fn end_rank(&self) -> Option<u64> {
        let end = self.end()?;
        Some(if self.over == 0 { end.at.as_millis().saturating_mul(1000) } else { self.over })
    }
}
