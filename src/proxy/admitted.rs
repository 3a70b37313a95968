//! What admission comes to: a request that may go on, or why it does not.

use crate::azure::edit::Edit;
use crate::azure::error::ClientError;
use crate::azure::headers::forward_request;
use crate::azure::peek::{Effort, Peek};
use crate::azure::route::Operation;
use crate::azure::route::Route;
use crate::clock::Clock;
use crate::config::checked::{CallerHeaders, Config};
use crate::live::{Live, LiveModel};
use crate::proxy::ProbeRequest;
use crate::proxy::caller;
use crate::proxy::copies::Copies;
use crate::proxy::identify::Proof;
use crate::proxy::placement::Placement;
use crate::proxy::progress::Progress;
use crate::rng::stable_hash;
use crate::routing::{Ask, Attempts, Class, Event, Kind, Limits, Repeat, TimeLimit, Timing};
use crate::telemetry::Telemetry;
use crate::time::Time;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora_core::Error;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A request that may go on, but for its body.
pub(super) struct Admitted {
    pub(super) route: Route,
    /// Whose it is.
    pub(super) app: Arc<str>,
    pub(super) model: Arc<LiveModel>,
    /// The model that its tool makes pictures with, if a header names one.
    pub(super) painter: Option<Arc<LiveModel>>,
    /// Where the body names the model, if that is what counts.
    pub(super) named: Option<NamedModel>,
    /// What the body is, if it is not JSON.
    pub(super) content_type: Option<HeaderValue>,
    pub(super) stream: bool,
    /// What more its body says of the answer.
    pub(super) answering: Answering,
    /// About how long its prompt is.
    pub(super) prompt_tokens: u64,
    /// About how many tokens it counts as: its prompt, and the most that may be generated.
    pub(super) tokens: u64,
    /// What it shares a prompt cache by.
    pub(super) affinity: Option<u64>,
    /// How much the model is to reason.
    pub(super) effort: Option<Effort>,
    /// What may be sent twice.
    pub(super) repeat: Repeat,
    /// Whether the answer is to be stored, if it says.
    pub(super) store: Option<bool>,
    /// Whether its body names an id of something that is kept on one resource.
    pub(super) names_ids: bool,
    /// Ids that it names and nobody knew.
    pub(super) strange: BTreeSet<String>,
    /// Where it must go.
    pub(super) placement: Placement,
}

/// Where a body names the model.
pub(super) struct NamedModel {
    pub(super) span: Range<usize>,
}

impl Admitted {
    /// Whether the answer is a stream whose first content is waited for. In the background the model begins when
    /// there is room: the client is to have the id at once, and the wait tells nothing of the target.
    pub(super) fn awaits_content(&self) -> bool {
        self.stream && !self.answering.background && self.route.operation.is_generated()
    }

    /// Whether only the model is asked for, and nothing that lives on one resource.
    pub(super) fn is_of_model(&self) -> bool {
        let resource = matches!(
            self.route.operation,
            Operation::Resource | Operation::Realtime | Operation::Models
        );
        !resource && !self.names_ids
    }

    /// Whether several pictures may be asked for, each of which ends with an event of its own. The number in a form is
    /// not read.
    pub(super) fn may_be_several_pictures(&self) -> bool {
        let several = self.answering.answers.is_some_and(|n| n > 1) || self.content_type.is_some();
        self.route.operation == Operation::Images && several
    }

    /// Whether a second copy of it is stored at a backend and is to be deleted: a response that may be sent twice
    /// although Azure stores it, since only the default says so.
    pub(super) fn leaves_copies(&self) -> bool {
        self.route.operation == Operation::Responses
            && self.store.is_none()
            && self.repeat != Repeat::OnlyUntouched
    }

    /// What its answer can teach about speed.
    pub(super) fn timing(&self) -> Timing {
        match self.route.operation {
            _ if self.awaits_content() => Timing::FirstToken,
            Operation::Embeddings => Timing::FirstToken,
            // A message that it was taken, or what was made before.
            Operation::Realtime | Operation::Resource => Timing::Unmeasured,
            _ if self.answering.background => Timing::Unmeasured,
            Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Images
            | Operation::Transcriptions
            | Operation::Speech
            | Operation::Models => Timing::Untimed,
        }
    }
}

/// What a body says of the answer, beside whether it is streamed.
pub(super) struct Answering {
    /// It is made whether or not anybody reads it.
    background: bool,
    /// How many choices or pictures are asked for, if a JSON body says it.
    answers: Option<u64>,
    /// What is written into the body so that the stream tells its usage: the client did not ask for it.
    pub(super) usage_edit: Option<Edit>,
    /// What a response is compared with that is not streamed.
    class: Class,
}

impl Answering {
    pub(super) fn of(operation: Operation, seen: &Peek<'_>, config: &Config) -> Self {
        let tells = matches!(operation, Operation::ChatCompletions | Operation::Completions);
        let usage_edit = seen.usage_edit.clone().filter(|_| tells && config.inject_usage);
        let background = seen.background == Some(true);
        let class = class(operation, seen);
        Self { background, answers: seen.answers, usage_edit, class }
    }
}

/// What a whole response is compared with. What is heard or spoken is as long as what is sent.
fn class(operation: Operation, seen: &Peek<'_>) -> Class {
    let prompt = Some(seen.prompt_tokens_estimate);
    let (kind, length) = match operation {
        Operation::ChatCompletions => (Kind::Chat, seen.max_tokens),
        Operation::Completions => (Kind::Completions, seen.max_tokens),
        Operation::Responses => (Kind::Responses, seen.max_tokens),
        Operation::Images => (Kind::Images, None),
        Operation::Transcriptions => (Kind::Transcriptions, prompt),
        Operation::Speech => (Kind::Speech, prompt),
        Operation::Embeddings | Operation::Models | Operation::Realtime | Operation::Resource => {
            (Kind::Other, None)
        }
    };
    Class::of(kind, length, seen.answers.unwrap_or(1))
}

/// Why a request does not go on.
pub(super) enum Refusal {
    /// We answer it.
    Answer(ClientError),
    /// Nobody is there to read an answer.
    ClientGone(Box<Error>),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self::Answer(error)
    }
}

/// What the proxy works with; one for all requests.
pub(super) struct Services {
    pub(super) live: Arc<Live>,
    pub(super) telemetry: Arc<Telemetry>,
    /// Wishes for a probe; full means that enough probes are wanted already.
    pub(super) probes: mpsc::Sender<ProbeRequest>,
    pub(super) copies: Copies,
}

/// How long a client's request waits for what.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For the first content of an attempt.
    pub(super) first_content: TimeLimit,
    /// For the next chunk of an answer.
    pub(super) idle: Duration,
    /// Until a streaming client gets its header before there is an answer.
    pub(super) hold: Duration,
}

/// One admitted request: what all its attempts share. The body is kept apart, since it is given back when an
/// answer is passed on.
pub(super) struct Request {
    pub(super) services: Arc<Services>,
    pub(super) admitted: Admitted,
    pub(super) progress: Progress,
    pub(super) patience: Patience,
    /// The client's headers that cross.
    headers: HeaderMap,
    /// A number that no other request has.
    serial: u64,
    /// Hashes of the app, and of its key or token subject.
    sender: (u64, u64),
    max_attempts: u32,
}

/// Where a request comes from, for [`Request::new`].
pub(super) struct Origin<'a> {
    pub(super) headers: &'a HeaderMap,
    /// What backends are to be told of the caller, and what is known of it.
    pub(super) caller: (&'a CallerHeaders, Option<&'a str>, &'a Proof),
    pub(super) request_id: &'a str,
    pub(super) serial: u64,
    pub(super) patience: Patience,
    pub(super) max_attempts: u32,
}

impl Request {
    pub(super) fn new(services: Arc<Services>, admitted: Admitted, origin: &Origin<'_>) -> Self {
        Self {
            services,
            admitted,
            progress: Progress::default(),
            patience: origin.patience,
            headers: crossing(origin),
            serial: origin.serial,
            sender: sender(origin),
            max_attempts: origin.max_attempts,
        }
    }

    pub(super) fn model(&self) -> &Arc<LiveModel> {
        &self.admitted.model
    }

    pub(super) fn operation(&self) -> Operation {
        self.admitted.route.operation
    }

    /// The client's headers that cross to every backend.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn clock(&self) -> &Clock {
        self.services.live.clock()
    }

    pub(super) fn now(&self) -> Time {
        self.clock().now()
    }

    /// What it is to the routing core.
    pub(super) fn ask(&self) -> Ask {
        let Admitted { prompt_tokens, tokens, affinity, repeat, placement, answering, .. } =
            &self.admitted;
        let (app, credential) = self.sender;
        Ask {
            request: self.serial,
            timing: self.admitted.timing(),
            prompt_tokens: *prompt_tokens,
            tokens: *tokens,
            affinity: *affinity,
            class: answering.class,
            app,
            credential,
            wary: *repeat == Repeat::OnlyUntouched && placement.bound().only().is_none(),
        }
    }

    /// Its attempts, none of them made.
    pub(super) fn attempts(&self) -> Attempts {
        let Admitted { repeat, placement, .. } = &self.admitted;
        // What is looked for may be anywhere, and looking costs nobody anything.
        let all = u32::try_from(self.model().pool.len()).unwrap_or(u32::MAX);
        let max_attempts = match placement {
            Placement::Seek => self.max_attempts.max(all),
            Placement::Anywhere
            | Placement::Rather(_)
            | Placement::Asked(_)
            | Placement::Owner(_) => self.max_attempts,
        };
        let limits = Limits { max_attempts, repeat: *repeat, bound: placement.bound() };
        Attempts::new(self.ask(), limits)
    }

    /// Tells operators what changed for one of its targets.
    pub(super) fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            self.services.telemetry.target_changed(self.model(), event, self.now());
        }
    }
}

/// Hashes of the app that a request comes from, and of the key or token subject that proved it.
fn sender(origin: &Origin<'_>) -> (u64, u64) {
    let (_, app, proof) = origin.caller;
    let app = app.unwrap_or_default();
    let subject = proof.caller().and_then(|caller| caller.object_id.as_deref());
    let credential = proof.key().map(|(id, _)| id).or(subject).unwrap_or_default();
    (stable_hash(app.as_bytes()), stable_hash([app, credential].join("\n").as_bytes()))
}

/// The client's headers that cross, and those that say who it is. What it sends under their names does not cross.
fn crossing(origin: &Origin<'_>) -> HeaderMap {
    const ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in origin.headers {
        if forward_request(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let (wanted, app, proof) = origin.caller;
    caller::tell(wanted, (app, proof), &mut headers);
    if let (false, Ok(id)) = (headers.contains_key(&ID), HeaderValue::from_str(origin.request_id)) {
        headers.insert(ID, id);
    }
    headers
}
