//! What Pingora carries from phase to phase of one request.

use crate::azure::error::ClientError;
use crate::azure::listing::without;
use crate::azure::realtime::handshake::Offer;
use crate::azure::sse::is_event_stream;
use crate::azure::stall::Pace;
use crate::azure::unasked::Unasked;
use crate::azure::usage::Collector;
use crate::azure::usage::Usage;
use crate::live::Live;
use crate::live::Snapshot;
use crate::owners::Known;
use crate::proxy::admitted::Request;
use crate::proxy::body::Body;
use crate::proxy::claim::Claim;
use crate::proxy::identify::Proof;
use crate::proxy::list::List;
use crate::quota::Admission;
use crate::quota::Held;
use crate::routing::Attempts;
use crate::routing::Lease;
use crate::routing::Why;
use crate::telemetry::Telemetry;
use crate::time::Time;
use bytes::Bytes;
use http::HeaderMap;
use pingora_http::ResponseHeader;
use prometheus::IntGauge;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// One request.
pub struct Context {
    pub(super) arrived: Time,
    /// A number that no other request has.
    pub(super) serial: u64,
    /// The place of the listener in the configuration, if it is known.
    pub(super) door: Option<usize>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) request_id: String,
    /// Who asks, behind proxies that are trusted.
    pub(super) client: Option<IpAddr>,
    /// The trace that the request belongs to.
    pub(super) trace_id: Option<String>,
    /// A health probe of what stands in front: no line, no count.
    pub(super) unlogged: bool,
    pub(super) note: Note,
    /// Its place among all requests, until it is over.
    pub(super) place: Option<Held>,
    /// What it holds of its app's limits, until it is over.
    pub(super) admission: Option<Admission>,
    pub(super) request: Option<Arc<Request>>,
    /// Handed to the connector with the first attempt.
    pub(super) body: Body,
    /// As the body; those of a conversation stay here.
    pub(super) attempts: Option<Attempts>,
    /// The attempt that was chosen and not yet handed on.
    pub(super) chosen: Option<Chosen>,
    /// What a request for a conversation asks for.
    pub(super) realtime: Option<Offer>,
    /// Our own answer, if there is one.
    pub(super) refused: Option<ClientError>,
    pub(super) relayed: Relayed,
    /// What the answer tells of.
    claim: Option<Claim>,
    in_flight: IntGauge,
}

/// What the log tells of a request, as far as it is known.
#[derive(Default)]
pub(super) struct Note {
    pub(super) route: Option<Cow<'static, str>>,
    pub(super) app: Option<Arc<str>>,
    pub(super) proof: Proof,
    pub(super) model: Option<Arc<str>>,
    pub(super) stream: bool,
    pub(super) bytes_in: usize,
    /// Why we ended a conversation.
    pub(super) ended: Option<&'static str>,
}

/// An attempt that was chosen.
pub(super) struct Chosen {
    pub(super) lease: Lease,
    pub(super) why: Why,
}

/// What was seen of the answer on its way to the client.
#[derive(Default)]
pub(super) struct Relayed {
    reader: Reader,
    /// Takes out what the client did not ask for.
    unasked: Option<Box<Unasked>>,
    list: Option<List>,
    pub(super) bytes: usize,
    /// Arrival of the request to the first content chunk sent.
    pub(super) first_content: Option<Time>,
    pub(super) upstream_id: Option<String>,
    /// How steadily the content comes.
    pub(super) pace: Pace,
}

/// Reads token usage, and in a stream the first content, from what passes by.
#[derive(Default)]
enum Reader {
    #[default]
    Blind,
    /// Scanned by the session: what it found is in the request's progress.
    Stream,
    Whole(Box<Collector>),
    /// Read elsewhere.
    Told(Usage),
}

impl Relayed {
    /// What of a chunk goes to the client.
    pub(super) fn pass(&mut self, body: &mut Option<Bytes>) {
        if let Some(list) = self.list.as_mut() {
            list.push(&body.take().unwrap_or_default());
            *body = Some(Bytes::new());
            return;
        }
        if let (Some(unasked), Some(chunk)) = (self.unasked.as_mut(), body.as_mut()) {
            *chunk = unasked.pass(chunk);
        }
        self.bytes += body.as_ref().map_or(0, Bytes::len);
    }

    /// The last chunk, and what was held back of those before it.
    pub(super) fn pass_last(&mut self, body: &mut Option<Bytes>) {
        self.pass(body);
        let held = self.unasked.as_mut().map(|unasked| unasked.finish()).unwrap_or_default();
        if !held.is_empty() {
            self.bytes += held.len();
            let chunk = body.take().unwrap_or_default();
            *body = Some([chunk, held].concat().into());
        }
    }

    /// Whether the client may get less than what comes, or more: the event that tells of a failure.
    pub(super) fn may_change_length(&self) -> bool {
        self.list.is_some() || self.unasked.is_some() || matches!(self.reader, Reader::Stream)
    }

    /// Whether the answer is a list that is looked through before it is passed on.
    pub(super) fn is_list(&self) -> bool {
        self.list.is_some()
    }

    /// What was used is known already.
    pub(super) fn tell(&mut self, usage: Option<Usage>) {
        self.reader = usage.map_or(Reader::Blind, Reader::Told);
    }

    /// In a stream, how many events had content.
    pub(super) fn content_events(&self) -> Option<u32> {
        matches!(self.reader, Reader::Stream).then(|| self.pace.events())
    }
}

impl Context {
    pub(super) fn new(live: &Live, telemetry: &Telemetry) -> Self {
        telemetry.metrics.requests_in_flight.inc();
        Self {
            arrived: live.clock().now(),
            serial: live.rng().bits(),
            door: None,
            snapshot: live.snapshot(),
            request_id: String::new(),
            client: None,
            trace_id: None,
            unlogged: false,
            note: Note::default(),
            place: None,
            admission: None,
            request: None,
            body: Body::default(),
            attempts: None,
            chosen: None,
            realtime: None,
            refused: None,
            relayed: Relayed::default(),
            claim: None,
            in_flight: telemetry.metrics.requests_in_flight.clone(),
        }
    }

    /// The client's own request id if it is a plain word, else a new one.
    pub(super) fn take_request_id(&mut self, headers: &HeaderMap) {
        let given =
            headers.get("x-request-id").map(http::HeaderValue::as_bytes).unwrap_or_default();
        let plain = (1..=128).contains(&given.len())
            && given.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
        self.request_id = if plain {
            String::from_utf8_lossy(given).into_owned()
        } else {
            Uuid::now_v7().to_string()
        };
    }

    pub(super) fn admit(&mut self, request: Request, body: Body) {
        request.model().pool.admit(&request.ask(), request.now());
        self.attempts = Some(request.attempts());
        self.request = Some(Arc::new(request));
        self.body = body;
    }

    /// The answer starts: what kind of reader suits it.
    pub(super) fn start_relay(&mut self, answer: &ResponseHeader) {
        let headers = &answer.headers;
        if self.request.is_none() {
            return;
        }
        let kind = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let kind = kind.unwrap_or_default();
        self.relayed.reader = if is_event_stream(headers) {
            Reader::Stream
        } else if kind.starts_with(b"application/json") {
            Reader::Whole(Box::default())
        } else {
            Reader::Blind
        };
        if let (Some(request), Some(app)) = (&self.request, &self.note.app) {
            self.claim = Claim::begin(request, app, answer);
        }
        let lists = self.request.as_ref().is_some_and(|r| r.admitted.route.is_list());
        let json = kind.starts_with(b"application/json") && answer.status.is_success();
        self.relayed.list = match (&self.request, &self.note.app) {
            (Some(request), Some(app)) if lists && json => {
                Some(List::begin(&request.services.live, app))
            }
            _ => None,
        };
        let asks = self.request.as_ref().is_some_and(|r| r.admitted.answering.usage_edit.is_some());
        self.relayed.unasked = (asks && is_event_stream(headers)).then(Box::default);
        let id = headers.get("apim-request-id").and_then(|v| v.to_str().ok());
        self.relayed.upstream_id = id.map(str::to_owned);
    }

    /// The end of a list: what is another app's is not shown. `None`: there is no list, or there was no room for it.
    pub(super) fn own_list(&mut self) -> Option<Bytes> {
        let list = self.relayed.list.as_mut()?.take()?;
        let (request, app) = (self.request.as_ref()?, self.note.app.as_ref()?);
        let live = &request.services.live;
        let now = live.clock().unix().as_secs();
        let foreign = |id: &str| live.kept().find(id, app, now) == Known::Foreign;
        let cut = without(&list, foreign);
        let list = Bytes::from(cut.unwrap_or(list));
        self.relayed.bytes += list.len();
        Some(list)
    }

    /// A chunk on its way to the client. Tells whether a stream said with it that it is complete.
    pub(super) fn relay(&mut self, chunk: &Bytes, now: Time) -> bool {
        if let (Some(claim), Some(request)) = (&mut self.claim, &self.request) {
            claim.see(chunk, request);
        }
        let relayed = &mut self.relayed;
        let mut complete = false;
        let content = match &mut relayed.reader {
            Reader::Stream => {
                let scanned = self.request.as_ref().map(|request| request.progress.scanned());
                let seen = scanned.unwrap_or_default().seen;
                relayed.pace.see(now.since(self.arrived), seen.content_events);
                complete = seen.done;
                seen.first_token
            }
            Reader::Whole(collector) => {
                collector.push(chunk);
                !chunk.is_empty()
            }
            Reader::Blind | Reader::Told(_) => !chunk.is_empty(),
        };
        if content && relayed.first_content.is_none() {
            relayed.first_content = Some(now);
        }
        complete
    }

    /// Tokens, as far as the answer told them.
    pub(super) fn usage(&self) -> Usage {
        match &self.relayed.reader {
            Reader::Stream => self.request.as_ref().and_then(|r| r.progress.scanned().usage),
            Reader::Whole(collector) => collector.usage(),
            Reader::Told(usage) => Some(*usage),
            Reader::Blind => None,
        }
        .unwrap_or_default()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}
