//! Admission: who asks, for what, and whether they may. Everything is judged on one parsed request, the
//! same one that is routed, so that nobody is authorised for one model and served another.

use crate::azure::error::ClientError;
use crate::azure::peek::Effort;
use crate::azure::peek::Peek;
use crate::azure::peek::peek;
use crate::azure::repeat;
use crate::azure::route::Form;
use crate::azure::route::Operation;
use crate::azure::route::Route;
use crate::azure::route::route;
use crate::config::checked::App;
use crate::config::checked::Listener;
use crate::live::Live;
use crate::live::LiveModel;
use crate::live::Snapshot;
use crate::proxy::admitted::{Admitted, Refusal};
use crate::proxy::body;
use crate::proxy::body::Body;
use crate::proxy::context::Context;
use crate::proxy::identify::{Identified, identify};
use crate::proxy::meter;
use crate::routing::Repeat;
use http::HeaderMap;
use pingora_proxy::Session;
use std::ops::Range;
use std::sync::Arc;

/// Judges a request, reading its body. What is learned on the way is noted in `ctx` for the log, whatever
/// the verdict.
pub(super) async fn admit(
    session: &mut Session,
    ctx: &mut Context,
    live: &Live,
) -> Result<(Admitted, Body), Refusal> {
    let snapshot = Arc::clone(&ctx.snapshot);
    let request = session.req_header();
    ctx.take_request_id(&request.headers);
    let target = request.uri.path_and_query().map_or("", |p| p.as_str());
    let raw = std::str::from_utf8(request.raw_path()).unwrap_or(target);
    let route = route(&request.method, raw).map_err(ClientError::from)?;
    ctx.note.route = Some(route.path_template());
    let now = live.clock().unix().as_secs();
    let Identified { app, proof } = identify(&request.headers, &snapshot, now);
    ctx.note.proof = proof;
    let app = app?;
    ctx.note.app = Some(Arc::clone(&app));
    check_door(&snapshot, ctx.door, &app)?;
    meter::enter(ctx, &app, live)?;
    let name = app;
    let app = snapshot.app(&name).ok_or(ClientError::Internal)?;
    if route.operation == Operation::Models {
        if !session.as_downstream_mut().is_body_empty() {
            return Err(ClientError::UnexpectedBody.into());
        }
        let model = Arc::clone(&snapshot.any_backend);
        let admitted = Admitted {
            route,
            model,
            model_span: None,
            stream: false,
            prompt_tokens: 0,
            affinity: None,
            effort: None,
            repeat: Repeat::Anytime,
            only: None,
        };
        return Ok((admitted, Body::default()));
    }
    check_content_type(&request.headers)?;
    let may_probe = app.probe || ctx.note.proof.caller().is_some_and(|caller| caller.may_probe);
    let wish = may_probe.then(|| request.headers.get("x-probe-target").cloned()).flatten();
    let body = body::read(session.as_downstream_mut(), &snapshot.config, live, &name).await?;
    ctx.note.bytes_in = body.bytes.len();
    let Asked { model, model_span, stream, prompt_tokens, affinity, tokens, effort, repeat } =
        read_body(&route, &body.bytes, (&snapshot, app))?;
    ctx.note.model = Some(Arc::clone(&model.name));
    ctx.note.stream = stream;
    let only = wish.map(|wish| find_target(wish.as_bytes(), &model)).transpose()?;
    meter::reserve(ctx, tokens, live.clock().now())?;
    let admitted = Admitted {
        route,
        model,
        model_span,
        stream,
        prompt_tokens,
        affinity,
        effort,
        repeat,
        only,
    };
    Ok((admitted, body))
}

/// A listener may be for some apps only. A connection whose listener is not known may use it for none of those.
fn check_door(snapshot: &Snapshot, door: Option<usize>, app: &str) -> Result<(), ClientError> {
    let restricted = |listener: &Listener| {
        listener.apps.as_ref().is_some_and(|apps| !apps.iter().any(|one| one == app))
    };
    let closed = match door {
        Some(place) => snapshot.listener(place).is_none_or(restricted),
        None => snapshot.config.listen.iter().any(restricted),
    };
    if closed { Err(ClientError::AppNotHere) } else { Ok(()) }
}

/// A body that says it is something else than JSON is refused; one that says nothing is tried.
fn check_content_type(headers: &HeaderMap) -> Result<(), ClientError> {
    let Some(kind) = headers.get(http::header::CONTENT_TYPE) else { return Ok(()) };
    let kind = kind.as_bytes().split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let json = kind.eq_ignore_ascii_case(b"application/json")
        || kind.to_ascii_lowercase().ends_with(b"+json");
    if json { Ok(()) } else { Err(ClientError::UnsupportedMediaType) }
}

/// What decides the routing, as the path and the body tell it.
struct Asked {
    model: Arc<LiveModel>,
    /// Where the body names the model, if that is what counts.
    model_span: Option<Range<usize>>,
    stream: bool,
    prompt_tokens: u64,
    affinity: Option<u64>,
    /// About how many tokens it may use in all.
    tokens: u64,
    effort: Option<Effort>,
    repeat: Repeat,
}

fn read_body(
    route: &Route,
    body: &[u8],
    (snapshot, app): (&Snapshot, &App),
) -> Result<Asked, ClientError> {
    let seen = peek(body)?;
    let named = seen.model.as_deref();
    let (name, model_span) = match &route.form {
        Form::Deployment(name) => (name.as_str(), None),
        Form::V1 | Form::Resource => (named.ok_or(ClientError::NoModel)?, seen.model_span.clone()),
    };
    let model = find_model(name, snapshot, app)?;
    let repeat = repeatable(route, &seen, &model);
    let (stream, effort, affinity) = (seen.stream, seen.effort, seen.affinity);
    let prompt_tokens = seen.prompt_tokens_estimate;
    let tokens = meter::estimate(route.operation, &seen);
    Ok(Asked { model, model_span, stream, prompt_tokens, affinity, tokens, effort, repeat })
}

/// What may be sent twice.
fn repeatable(route: &Route, seen: &Peek<'_>, model: &LiveModel) -> Repeat {
    let stored = if model.routing.hedge.stored_responses {
        repeat::StoredResponses::Twice
    } else {
        repeat::StoredResponses::Once
    };
    match repeat::Repeat::of(repeat::Keeping::of(route.operation), seen, stored) {
        repeat::Repeat::Anytime => Repeat::Anytime,
        repeat::Repeat::OnlyUntouched => Repeat::OnlyUntouched,
    }
}

/// The model, if it exists and the app may use it.
fn find_model(name: &str, snapshot: &Snapshot, app: &App) -> Result<Arc<LiveModel>, ClientError> {
    let allowed = app.models.as_ref().is_none_or(|models| models.iter().any(|m| m == name));
    match snapshot.model(name) {
        Some(model) if allowed => Ok(Arc::clone(model)),
        Some(_) => Err(ClientError::ModelForbidden { model: name.to_owned() }),
        None => Err(ClientError::UnknownModel { model: name.to_owned() }),
    }
}

fn find_target(wish: &[u8], model: &LiveModel) -> Result<usize, ClientError> {
    let name = String::from_utf8_lossy(wish);
    let found = model.pool.position(&name);
    found.ok_or_else(|| ClientError::UnknownProbeTarget { target: name.into_owned() })
}
