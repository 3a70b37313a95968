//! Admission: who asks, for what, and whether they may. Everything is judged on one parsed request, the
//! same one that is routed, so that nobody is authorised for one model and served another.

use crate::azure::error::ClientError;
use crate::azure::peek::Peek;
use crate::azure::realtime::credentials::gather;
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
use crate::proxy::admitted::{Admitted, Answering, NamedModel, Refusal};
use crate::proxy::asked::{self, Writing};
use crate::proxy::body;
use crate::proxy::body::Body;
use crate::proxy::context::Context;
use crate::proxy::identify::{Identified, identify};
use crate::proxy::meter;
use crate::proxy::models;
use crate::proxy::placement::{self, Knowledge, Placement};
use crate::proxy::realtime::{Asking, forget_credential};
use crate::routing::Repeat;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use pingora_proxy::Session;
use std::sync::Arc;

/// What becomes of a request that may be.
pub(super) enum Decision {
    /// It goes on to a backend.
    Forward(Box<Admitted>, Body),
    /// It is answered here, with this JSON.
    Reply(Bytes),
}

/// Judges a request, reading its body. What is learned on the way is noted in `ctx` for the log, whatever
/// the verdict.
pub(super) async fn admit(
    session: &mut Session,
    ctx: &mut Context,
    live: &Live,
) -> Result<Decision, Refusal> {
    let snapshot = Arc::clone(&ctx.snapshot);
    let request = session.req_header();
    ctx.take_request_id(&request.headers);
    let target = request.uri.path_and_query().map_or("", |p| p.as_str());
    let raw = std::str::from_utf8(request.raw_path()).unwrap_or(target);
    let more = &snapshot.config.extra_paths;
    let route = route(&request.method, raw, more).map_err(ClientError::from)?;
    ctx.note.route = Some(route.template.clone());
    let now = live.clock().unix().as_secs();
    let query = raw.split_once('?').map_or("", |(_, query)| query).to_owned();
    let Identified { app, proof } = if route.operation == Operation::Realtime {
        identify(&gather(&query, &request.headers), &snapshot, now)
    } else {
        identify(&request.headers, &snapshot, now)
    };
    ctx.note.proof = proof;
    let app = app?;
    ctx.note.app = Some(Arc::clone(&app));
    check_door(&snapshot, ctx.door, &app)?;
    meter::enter(ctx, &app, live)?;
    let name = app;
    let app = snapshot.app(&name).ok_or(ClientError::Internal)?;
    check_path(&route, more, app)?;
    if route.operation == Operation::Realtime {
        ctx.realtime = Some(Asking::read(request, &query)?);
    }
    let writing = Writing::of(&route, &request.headers)?;
    let may_probe = app.probe || ctx.note.proof.caller().is_some_and(|caller| caller.may_probe);
    let wish = may_probe.then(|| request.headers.get("x-probe-target").cloned()).flatten();
    let content_type = request.headers.get(header::CONTENT_TYPE).cloned();
    if route.operation == Operation::Realtime {
        forget_credential(session);
    }
    if writing == Writing::Nothing && !session.as_downstream_mut().is_body_empty() {
        return Err(ClientError::UnexpectedBody.into());
    }
    if route.operation == Operation::Models {
        return Ok(Decision::Reply(models::answer(route.model_id(), &snapshot, app)?));
    }
    let body = match writing {
        Writing::Nothing => Body::default(),
        _ => body::read(session.as_downstream_mut(), &snapshot.config, live, &name).await?,
    };
    ctx.note.bytes_in = body.bytes.len();
    let seen = asked::read(writing, content_type.as_ref(), &body.bytes)?;
    let named = named_model(&route, &seen, (&snapshot, app))?;
    let model = named.as_ref().map_or_else(
        || placement::unnamed_pool((&route, &seen.ids), &snapshot, &name),
        |(model, _)| model,
    );
    ctx.note.model = named.is_some().then(|| Arc::clone(&model.name));
    ctx.note.stream = seen.stream;
    let knowledge = Knowledge { kept: live.kept(), snapshot: &snapshot, app: &name, now };
    let placement = match placement::place((&route, &seen.ids), &knowledge, model)? {
        Placement::Anywhere | Placement::Rather(_) if wish.is_some() => {
            asked_target(wish.as_ref(), model)?
        }
        placement => placement,
    };
    meter::reserve(ctx, meter::estimate(route.operation, &seen), live.clock().now())?;
    let admitted = Admitted {
        repeat: repeatable(&route, &seen, model),
        model: Arc::clone(model),
        named: named.and_then(|(_, named)| named),
        content_type: content_type.filter(|_| !matches!(writing, Writing::Nothing | Writing::Json)),
        stream: seen.stream,
        answering: Answering::of(route.operation, &seen, &snapshot.config),
        prompt_tokens: seen.prompt_tokens_estimate,
        affinity: seen.affinity,
        effort: seen.effort,
        stores: seen.store == Some(true),
        placement,
        route,
    };
    Ok(Decision::Forward(Box::new(admitted), body))
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

/// What names a model where it is not looked for here is only for apps that may use every model.
fn check_path(route: &Route, more: &[String], app: &App) -> Result<(), ClientError> {
    let unseen = route.operation == Operation::Resource
        && (matches!(route.family(), "batches" | "evals" | "fine_tuning" | "models" | "realtime")
            || more.iter().any(|one| one == route.family()));
    if unseen && app.models.is_some() { Err(ClientError::PathForbidden) } else { Ok(()) }
}

/// The model that a request asks, and where the body names it; `None` if it asks none.
fn named_model(
    route: &Route,
    seen: &Peek<'_>,
    (snapshot, app): (&Snapshot, &App),
) -> Result<Option<(Arc<LiveModel>, Option<NamedModel>)>, ClientError> {
    let by_url = match &route.form {
        Form::Deployment(name) => Some(name.as_str()),
        Form::V1 | Form::Resource => route.query.model.as_deref(),
    };
    if let Some(name) = by_url {
        return Ok(Some((find_model(name, snapshot, app)?, None)));
    }
    let Some(name) = seen.model.as_deref() else {
        let must = route.operation != Operation::Resource;
        return if must { Err(ClientError::NoModel) } else { Ok(None) };
    };
    if route.operation == Operation::Resource && !names_deployments(route, name, snapshot) {
        return Ok(None);
    }
    let named = seen.model_span.clone().map(|span| NamedModel { span });
    Ok(Some((find_model(name, snapshot, app)?, named)))
}

/// Whether `model` in such a body is a deployment. Fine-tuning names base models, and evaluations name theirs deeper.
fn names_deployments(route: &Route, name: &str, snapshot: &Snapshot) -> bool {
    match route.family() {
        "assistants" | "chat" | "responses" | "threads" | "video" | "videos" => true,
        "batches" | "containers" | "conversations" | "evals" | "files" | "fine_tuning"
        | "models" | "realtime" | "uploads" | "vector_stores" => false,
        // The operator's own: what is not configured is taken as it is.
        _ => snapshot.model(name).is_some(),
    }
}

/// What may be sent twice.
fn repeatable(route: &Route, seen: &Peek<'_>, model: &LiveModel) -> Repeat {
    // A conversation has not begun before the backend's 101, after which nothing is repeated.
    if route.method == Method::GET {
        return Repeat::Anytime;
    }
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
pub(super) fn find_model(
    name: &str,
    snapshot: &Snapshot,
    app: &App,
) -> Result<Arc<LiveModel>, ClientError> {
    let allowed = app.models.as_ref().is_none_or(|models| models.iter().any(|m| m == name));
    match snapshot.model(name) {
        Some(model) if allowed => Ok(Arc::clone(model)),
        Some(_) => Err(ClientError::ModelForbidden { model: name.to_owned() }),
        None => Err(ClientError::UnknownModel { model: name.to_owned() }),
    }
}

/// The target of `X-Probe-Target`.
fn asked_target(wish: Option<&HeaderValue>, model: &LiveModel) -> Result<Placement, ClientError> {
    let name = String::from_utf8_lossy(wish.map(HeaderValue::as_bytes).unwrap_or_default());
    let found = model.pool.position(&name).map(Placement::Asked);
    found.ok_or_else(|| ClientError::UnknownProbeTarget { target: name.into_owned() })
}
