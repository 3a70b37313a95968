//! Deletes second copies of responses that Azure stores only by default.
//!
//! A hedge that loses, and an attempt that failed and is repeated, may leave a stored response that no client
//! knows of. It is deleted at its backend, with the credential for that backend, in a task beside the request.
//!
//! A deletion is not an attempt: it opens no lease, teaches the routing nothing and stands in no access log.
//! Nothing can be done about a copy whose id was not read before its connection was closed; it is only counted.
//! Ids that a client was sent, or has sent itself, are never deleted.

use crate::azure::form::Form;
use crate::azure::route::Operation;
use crate::exchange::{ExchangeProgress, Marks, Outcome, Sending, exchange};
use crate::live::LiveBackend;
use crate::owners::Known;
use crate::proxy::admitted::Request;
use crate::proxy::leg::Leg;
use http::{Method, header};
use pingora_core::connectors::http::Connector as HttpConnector;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Deletions that may be pending at a time.
const PENDING_MAX: usize = 256;

/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits before each try. A response that is still being written may not be stored yet.
const WAITS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(2)];

/// The room for pending deletions.
pub(super) struct Copies {
    room: Arc<Semaphore>,
}

impl Default for Copies {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(PENDING_MAX)) }
    }
}

/// One copy to delete.
struct StoredCopy {
    request: Arc<Request>,
    backend: Arc<LiveBackend>,
    id: Box<str>,
}

/// Deletes the stored response that an attempt leaves behind, if it can have left one. Does not wait.
pub(super) fn left_by(
    request: &Arc<Request>,
    http: &Arc<HttpConnector>,
    (leg, outcome): (&Leg, Outcome),
) {
    let Some(stored) = &leg.stored else { return };
    let Some(backend) = request.model().backends.get(leg.watch.target()) else { return };
    let Some(id) = stored.get() else {
        if may_have_begun(outcome) {
            count(request, backend, "unseen");
        }
        return;
    };
    let room = Arc::clone(&request.services.copies.room).try_acquire_owned();
    let (Ok(room), Ok(runtime)) = (room, Handle::try_current()) else {
        return count(request, backend, "skipped");
    };
    let copy =
        StoredCopy { request: Arc::clone(request), backend: Arc::clone(backend), id: id.into() };
    let http = Arc::clone(http);
    runtime.spawn(async move {
        let result = copy.delete(&http).await;
        count(&copy.request, &copy.backend, result);
        drop(room);
    });
}

/// Whether an attempt that ended so, and whose response id was not read, may have left something stored.
fn may_have_begun(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Lost | Outcome::ClientAbort | Outcome::TimedOut | Outcome::Reset)
}

fn count(request: &Request, backend: &LiveBackend, result: &str) {
    let copies = &request.services.telemetry.metrics.stored_copies;
    copies.with_label_values(&[&*request.model().name, &*backend.name, result]).inc();
}

impl StoredCopy {
    /// Tries to delete it. Returns the word for the metric.
    async fn delete(&self, http: &HttpConnector) -> &'static str {
        let mut result = "failed";
        for wait in WAITS {
            sleep(wait).await;
            if self.is_known() {
                return "skipped";
            }
            result = match timeout(TRY_TIMEOUT, self.try_once(http)).await {
                Ok(Some(200..300)) => return "deleted",
                Ok(Some(404 | 410)) => "missing",
                Ok(Some(_) | None) | Err(_) => "failed",
            };
        }
        result
    }

    /// Whether a client knows the id.
    fn is_known(&self) -> bool {
        let live = &self.request.services.live;
        // Whose it is does not matter.
        let known = live.kept().find(&self.id, "", live.clock().unix().as_secs());
        known != Known::Unknown || self.request.admitted.strange.contains(&*self.id)
    }

    /// The status of the response to one deletion; `None`: there is none.
    async fn try_once(&self, http: &HttpConnector) -> Option<u16> {
        let clock = self.request.clock();
        let path = self.request.admitted.route.deletion_of(&self.id);
        let mut header = self.backend.request((Method::DELETE, &path), clock.unix()).ok()?;
        let agent = concat!("firstlight/", env!("CARGO_PKG_VERSION"));
        header.insert_header(header::USER_AGENT, agent).ok()?;
        let sending = Sending {
            peer: self.backend.peer()?,
            request: header,
            body: Vec::new(),
            operation: Operation::Resource,
            stream: false,
            replay: true,
            seek: false,
            progress: ExchangeProgress::default(),
            stored: None,
            form: Form::Any,
            memory: None,
            tokens: 0,
        };
        let mut marks = Marks::default();
        match exchange(http, &sending, clock, &mut marks).await {
            Ok(answer) => answer.finish(http).await,
            Err(failure) => {
                if let Some(answer) = failure.answer {
                    answer.release(http).await;
                }
            }
        }
        (marks.status != 0).then_some(marks.status)
    }
}
