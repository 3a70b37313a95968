//! An open conversation: two directions, and the moment at which it is ended by us.

use crate::azure::realtime::cost::Cost;
use crate::azure::realtime::frames::close_frame;
use crate::azure::usage::Usage;
use crate::proxy::realtime::course::{Course, Why};
use crate::proxy::realtime::ends::{Client, Upstream};
use crate::proxy::realtime::lane::{Lane, Stop};
use pingora_core::{Error, ErrorSource};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long the process may drain, once it does.
pub(super) type Going = watch::Receiver<Option<Duration>>;

/// A conversation that is open.
pub(super) struct Tunnel<'a> {
    client: Client<'a>,
    upstream: Upstream,
    /// To the client.
    down: Lane,
    /// To the backend.
    up: Lane,
    down_is_over: bool,
    up_is_over: bool,
    cost: Cost,
    course: Course,
    /// For the close frame that goes to the backend.
    mask: [u8; 4],
}

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client has closed its connection.
    ByClient,
    /// The backend has closed its connection.
    ByBackend {
        /// Whether it said so before.
        said: bool,
    },
    /// By us; both were told, as far as they could be.
    ByUs(Why),
    /// The client's connection broke.
    ClientBroke(Box<Error>),
    /// The backend's connection broke.
    BackendBroke,
}

/// What a look at both ends comes to.
enum Step {
    /// A moment has passed: look again.
    Again,
    Wait,
    Ended(Ended),
}

impl<'a> Tunnel<'a> {
    pub(super) fn new(
        (client, upstream): (Client<'a>, Upstream),
        course: Course,
        mask: [u8; 4],
    ) -> Self {
        let (down, up) = Default::default();
        let (down_is_over, up_is_over) = (false, false);
        let cost = Cost::default();
        Self { client, upstream, down, up, down_is_over, up_is_over, cost, course, mask }
    }

    /// Bytes that were passed on: to the client, to the backend.
    pub(super) fn passed(&self) -> (usize, usize) {
        (self.down.passed, self.up.passed)
    }

    /// What the backend said was used.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.cost.usage()
    }

    /// Passes everything on until the conversation ends. `spent` is told what was used so far, whenever that changes.
    pub(super) async fn run(&mut self, going: Going, mut spent: impl FnMut(Usage)) -> Ended {
        let began = Instant::now();
        let mut alarm = pin!(sleep_until(began + self.course.next()));
        let mut going = pin!(told_to_go(going));
        let mut drains = false;
        let mut step = |cx: &mut Context<'_>| {
            let now = began.elapsed();
            if !drains && let Poll::Ready(limit) = going.as_mut().poll(cx) {
                drains = true;
                self.course.drain(now, limit);
            }
            if let Poll::Ready(ended) = self.poll(cx, now, &mut spent) {
                return Step::Ended(ended);
            }
            let next = began + self.course.next();
            let rang = alarm.as_mut().poll(cx).is_ready();
            // It may ring early: most bytes only put it off.
            if !rang && next >= alarm.deadline() {
                return Step::Wait;
            }
            alarm.as_mut().reset(next);
            if alarm.as_mut().poll(cx).is_pending() { Step::Wait } else { Step::Again }
        };
        poll_fn(|cx| {
            let mut came_to = step(cx);
            while matches!(came_to, Step::Again) {
                came_to = step(cx);
            }
            if let Step::Ended(ended) = came_to { Poll::Ready(ended) } else { Poll::Pending }
        })
        .await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Duration,
        spent: &mut impl FnMut(Usage),
    ) -> Poll<Ended> {
        if let Some(why) = self.course.due(now) {
            self.close(why, now);
        }
        let stopped = self.poll_down(cx, now, spent).or_else(|| self.poll_up(cx, now));
        let told = self.course.told();
        let over = self.course.is_over(now) || (self.down_is_over && self.up_is_over);
        match (told, stopped) {
            (None, Some(ended)) => Poll::Ready(ended),
            (Some(why), _) if over => Poll::Ready(Ended::ByUs(why)),
            _ => Poll::Pending,
        }
    }

    /// How the direction to the client ended, if it just did.
    fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        now: Duration,
        spent: &mut impl FnMut(Usage),
    ) -> Option<Ended> {
        if self.down_is_over {
            return None;
        }
        let (before, cost) = (self.down.passed, &mut self.cost);
        let mut told = false;
        let ends = (&mut self.upstream, &mut self.client);
        let polled = self.down.poll(ends, cx, |piece| told |= cost.see(&piece));
        if self.down.passed > before {
            self.course.said(now);
        }
        if let (true, Some(usage)) = (told, self.cost.usage()) {
            spent(usage);
        }
        let Poll::Ready(stop) = polled else { return None };
        self.down_is_over = true;
        let said = self.down.is_closed();
        Some(match stop {
            Stop::Broke(error) => broke(error),
            Stop::Ended | Stop::Answered => Ended::ByBackend { said },
        })
    }

    /// How the direction to the backend ended, if it just did.
    fn poll_up(&mut self, cx: &mut Context<'_>, now: Duration) -> Option<Ended> {
        if self.up_is_over {
            return None;
        }
        let before = self.up.passed;
        let polled = self.up.poll((&mut self.client, &mut self.upstream), cx, |_| ());
        if self.up.passed > before {
            self.course.asked(now);
        }
        let Poll::Ready(stop) = polled else { return None };
        self.up_is_over = true;
        Some(match stop {
            Stop::Broke(error) => broke(error),
            Stop::Ended | Stop::Answered => Ended::ByClient,
        })
    }

    /// Tells both ends.
    fn close(&mut self, why: Why, now: Duration) {
        let (code, reason) = why.close();
        self.down.close(close_frame(code, reason, None));
        self.up.close(close_frame(code, reason, Some(self.mask)));
        self.course.tell(why, now);
    }
}

fn broke(error: Box<Error>) -> Ended {
    if *error.esource() == ErrorSource::Downstream {
        Ended::ClientBroke(error)
    } else {
        Ended::BackendBroke
    }
}

async fn told_to_go(mut going: Going) -> Duration {
    let limit = going.wait_for(Option::is_some).await.ok().and_then(|limit| *limit);
    match limit {
        Some(limit) => limit,
        None => pending().await,
    }
}
