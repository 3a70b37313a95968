//! When a region's traffic stopped and when it came back, from the moments of its first attempts alone: so it
//! is the same measure for policies that mark regions and for those that do not.
//!
//! *Off* is the first moment in the fault from which 10 s and 30 s bring less than a quarter of the requests
//! that the region had before (so it may be 2.5 s early); *back* is the first moment after it from which 30 s bring at least half of them. A
//! region that is back after its own share of one request's time was never really away.

const SPAN_SECONDS: f64 = 30.0;
const SOON_SECONDS: f64 = 10.0;
/// Over this long before the fault the usual traffic is counted.
const BEFORE_SECONDS: f64 = 600.0;
const OFF_SHARE: f64 = 0.25;
const BACK_SHARE: f64 = 0.5;

/// The first attempts that one region got, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    sent: Vec<f64>,
}

impl Traffic {
    pub(super) fn sent(&mut self, now: f64) {
        self.sent.push(now);
    }

    fn between(&self, from: f64, to: f64) -> usize {
        self.sent.partition_point(|at| *at < to) - self.sent.partition_point(|at| *at < from)
    }

    /// How many requests 30 s usually bring; `None` when too few to tell.
    fn usual(&self, fault_from: f64) -> Option<f64> {
        let since = (fault_from - BEFORE_SECONDS).max(0.0);
        let span = fault_from - since;
        let usual = crate::sim::float(self.between(since, fault_from)) * SPAN_SECONDS / span;
        (span >= SPAN_SECONDS && usual >= 2.0).then_some(usual)
    }

    /// Seconds from the beginning of a fault to the end of the region's traffic.
    pub(super) fn off(&self, (from, to): (f64, f64)) -> Option<f64> {
        let few = self.usual(from)? * OFF_SHARE;
        let last = to - SPAN_SECONDS;
        // It can only stop at the beginning, or just after a request.
        let moments = std::iter::once(from).chain(self.sent.iter().map(|at| at + 1e-6));
        let is_few = |at: f64, span: f64| {
            crate::sim::float(self.between(at, at + span)) < few * span / SPAN_SECONDS
        };
        let quiet = |at: &f64| is_few(*at, SOON_SECONDS) && is_few(*at, SPAN_SECONDS);
        moments.filter(|at| (from..=last).contains(at)).find(quiet).map(|at| at - from)
    }

    /// Seconds from the end of a fault to the return of the region's traffic.
    pub(super) fn back(&self, (from, to): (f64, f64)) -> Option<f64> {
        let enough = self.usual(from)? * BACK_SHARE;
        let busy = |at: &f64| crate::sim::float(self.between(*at, at + SPAN_SECONDS)) >= enough;
        // It can only be back with a request.
        self.sent.iter().copied().filter(|at| *at >= to).find(busy).map(|at| at - to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request a second, but for the seconds of the pause.
    fn traffic(pause: (u32, u32)) -> Traffic {
        let sent = (0..3000).filter(|n| !(pause.0..pause.1).contains(n)).map(f64::from).collect();
        Traffic { sent }
    }

    #[test]
    fn a_pause_is_found_from_both_sides() {
        let paused = traffic((1012, 1527));
        let fault = (1000.0, 1500.0);
        assert!((paused.off(fault).unwrap() - 9.0).abs() < 0.1, "{:?}", paused.off(fault));
        assert!((paused.back(fault).unwrap() - 27.0).abs() < 0.1, "{:?}", paused.back(fault));
    }

    #[test]
    fn no_pause_is_none_and_back_at_once() {
        let steady = traffic((0, 0));
        assert_eq!(steady.off((1000.0, 1500.0)), None);
        assert!(steady.back((1000.0, 1500.0)).unwrap() < 1.0);
    }
}
