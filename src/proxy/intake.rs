//! Admission: who asks, for what, and whether they may. Everything is judged on one parsed request, the
//! same one that is routed, so that nobody is authorised for one model and served another.

use crate::azure::error::ClientError;
use crate::azure::headers::PAINTER_HEADER;
use crate::azure::ids::Named;
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
use crate::proxy::realtime;
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

/// What is known of a request before its body is read.
struct Entered {
    route: Route,
    app: Arc<str>,
    writing: Writing,
    content_type: Option<HeaderValue>,
    /// The backend that it asks for, and may.
    wish: Option<HeaderValue>,
    /// The model that its tool makes pictures with.
    painter: Option<Arc<LiveModel>>,
    /// In Unix seconds.
    now: u64,
}

/// Judges a request, reading its body. What is learned on the way is noted in `ctx` for the log, whatever
/// the verdict.
pub(super) async fn admit(
    session: &mut Session,
    ctx: &mut Context,
    live: &Live,
) -> Result<Decision, Refusal> {
    let snapshot = Arc::clone(&ctx.snapshot);
    let entered = enter(session, ctx, live)?;
    let app = snapshot.app(&entered.app).ok_or(ClientError::Internal)?;
    if entered.route.operation == Operation::Realtime {
        realtime::forget_credential(session);
    }
    let body = match entered.writing {
        Writing::Nothing if session.as_downstream_mut().is_body_empty() => Body::default(),
        Writing::Nothing => return Err(ClientError::UnexpectedBody.into()),
        Writing::Json | Writing::MaybeJson | Writing::Form | Writing::Opaque => {
            let session = session.as_downstream_mut();
            body::read(session, &snapshot.config, live, &entered.app).await?
        }
    };
    if entered.route.operation == Operation::Models {
        return Ok(Decision::Reply(models::answer(entered.route.model_id(), &snapshot, app)?));
    }
    ctx.note.bytes_in = body.bytes.len();
    let admitted = judge(entered, &body, ctx, live)?;
    Ok(Decision::Forward(Box::new(admitted), body))
}

/// Who asks, for what kind of thing, and whether they may: all that its head tells.
fn enter(session: &Session, ctx: &mut Context, live: &Live) -> Result<Entered, ClientError> {
    let snapshot = Arc::clone(&ctx.snapshot);
    let request = session.req_header();
    let target = request.uri.path_and_query().map_or("", |p| p.as_str());
    let raw = std::str::from_utf8(request.raw_path()).unwrap_or(target);
    let more = &snapshot.config.extra_paths;
    let route = route(&request.method, raw, more)?;
    ctx.note.route = Some(route.template.clone());
    let now = live.clock().unix().as_secs();
    let query = raw.split_once('?').map_or("", |(_, query)| query);
    let Identified { app, proof } = if route.operation == Operation::Realtime {
        identify(&gather(query, &request.headers), &snapshot, now)
    } else {
        identify(&request.headers, &snapshot, now)
    };
    ctx.note.proof = proof;
    let name = app?;
    ctx.note.app = Some(Arc::clone(&name));
    check_door(&snapshot, ctx.door, &name)?;
    meter::enter(ctx, &name, live)?;
    let app = snapshot.app(&name).ok_or(ClientError::Internal)?;
    check_path(&route, more, app)?;
    if route.operation == Operation::Realtime {
        ctx.realtime = Some(realtime::asked(request, query)?);
    }
    let may_probe = app.probe || ctx.note.proof.caller().is_some_and(|caller| caller.may_probe);
    let header = |name: &str| request.headers.get(name).cloned();
    let painter = header(PAINTER_HEADER).map(|named| {
        let named =
            named.to_str().map_err(|_| ClientError::UnknownModel { model: String::new() })?;
        models::find(named, &snapshot, app)
    });
    Ok(Entered {
        writing: Writing::of(&route, &request.headers)?,
        content_type: request.headers.get(header::CONTENT_TYPE).cloned(),
        wish: may_probe.then(|| header("x-probe-target")).flatten(),
        painter: painter.transpose()?,
        app: name,
        route,
        now,
    })
}

/// What the body decides.
fn judge(
    entered: Entered,
    body: &Body,
    ctx: &mut Context,
    live: &Live,
) -> Result<Admitted, ClientError> {
    let Entered { route, app: name, writing, content_type, wish, painter, now } = entered;
    let snapshot = Arc::clone(&ctx.snapshot);
    let app = snapshot.app(&name).ok_or(ClientError::Internal)?;
    let seen = asked::read(writing, content_type.as_ref(), &body.bytes)?;
    if seen.own_data && app.models.is_some() {
        // They may name deployments, which are not looked at.
        return Err(ClientError::PathForbidden);
    }
    let asked = asked_model(&route, &seen, (&snapshot, app))?;
    let model = asked.as_ref().map_or_else(
        || placement::unnamed_pool((&route, &seen.ids), &snapshot, &name),
        |asked| &asked.model,
    );
    ctx.note.model = asked.is_some().then(|| Arc::clone(&model.name));
    ctx.note.stream = seen.stream;
    let knowledge = Knowledge { kept: live.kept(), snapshot: &snapshot, app: &name, now };
    let mut placement = placement::place((&route, &seen.ids), &knowledge, model)?;
    if let (Placement::Anywhere | Placement::Rather(_), Some(wish)) = (&placement, &wish) {
        placement = asked_target(wish, model)?;
    }
    let tokens = meter::estimate(route.operation, &seen);
    meter::reserve(ctx, tokens, live.clock().now())?;
    Ok(Admitted {
        repeat: repeatable(&route, &seen, (model, &snapshot)),
        model: Arc::clone(model),
        painter,
        named: asked.and_then(|asked| asked.named),
        content_type: content_type.filter(|_| matches!(writing, Writing::Form | Writing::Opaque)),
        stream: seen.stream,
        answering: Answering::of(route.operation, &seen, &snapshot.config),
        prompt_tokens: seen.prompt_tokens_estimate,
        tokens,
        affinity: seen.affinity,
        effort: seen.effort,
        store: seen.store,
        names_ids: seen.ids != Named::default(),
        strange: placement::strange(&seen.ids, &knowledge),
        placement,
        app: Arc::clone(&name),
        route,
    })
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

/// The model that a request asks, and where the body names it.
struct Asked {
    model: Arc<LiveModel>,
    named: Option<NamedModel>,
}

/// Finds it; `None` if the request asks none.
fn asked_model(
    route: &Route,
    seen: &Peek<'_>,
    (snapshot, app): (&Snapshot, &App),
) -> Result<Option<Asked>, ClientError> {
    let by_url = match &route.form {
        Form::Deployment(name) => Some(name.as_str()),
        Form::V1 | Form::Resource => route.query.model.as_deref(),
    };
    if let Some(name) = by_url {
        return Ok(Some(Asked { model: models::find(name, snapshot, app)?, named: None }));
    }
    // A realtime session that is prepared for later has its model inside.
    let prepared = route.operation == Operation::Resource && route.family() == "realtime";
    let (name, span) = if prepared && seen.model.is_none() {
        (&seen.session_model, &seen.session_model_span)
    } else {
        (&seen.model, &seen.model_span)
    };
    let Some(name) = name.as_deref() else {
        // What names a model in another way, or none, Azure may know: a stored prompt has one.
        let may = matches!(
            route.operation,
            Operation::Resource | Operation::Responses | Operation::Images
        );
        let must = !may || (route.operation != Operation::Resource && app.models.is_some());
        return if must { Err(ClientError::NoModel) } else { Ok(None) };
    };
    if route.operation == Operation::Resource && !names_deployments(route, name, snapshot) {
        return Ok(None);
    }
    let named = span.clone().map(|span| NamedModel { span });
    Ok(Some(Asked { model: models::find(name, snapshot, app)?, named }))
}

/// Whether `model` in such a body is a deployment. Fine-tuning names base models, and evaluations name theirs deeper.
fn names_deployments(route: &Route, name: &str, snapshot: &Snapshot) -> bool {
    match route.family() {
        "assistants" | "chat" | "responses" | "threads" | "video" | "videos" => true,
        "batches" | "containers" | "conversations" | "evals" | "files" | "fine_tuning"
        | "models" | "uploads" | "vector_stores" => false,
        // `realtime`, which only apps that may use every model may, and the operator's own: what is not configured
        // is taken as it is.
        _ => snapshot.model(name).is_some(),
    }
}

/// What may be sent twice.
fn repeatable(
    route: &Route,
    seen: &Peek<'_>,
    (model, snapshot): (&LiveModel, &Snapshot),
) -> Repeat {
    // A conversation has not begun before the backend's 101, after which nothing is repeated.
    if route.method == Method::GET {
        return Repeat::Anytime;
    }
    let keeping = repeat::Keeping::of(route.operation);
    match repeat::Repeat::of(keeping, seen, &snapshot.config.retry.repeatable_tools) {
        repeat::Repeat::Anytime => Repeat::Anytime,
        repeat::Repeat::StoredByDefault if model.routing.hedge.stored_responses => Repeat::Anytime,
        repeat::Repeat::StoredByDefault => Repeat::NotHedged,
        repeat::Repeat::OnlyUntouched => Repeat::OnlyUntouched,
    }
}

/// The target of `X-Probe-Target`.
fn asked_target(wish: &HeaderValue, model: &LiveModel) -> Result<Placement, ClientError> {
    let name = String::from_utf8_lossy(wish.as_bytes());
    let found = model.pool.position(&name).map(Placement::Asked);
    found.ok_or_else(|| ClientError::UnknownProbeTarget { target: name.into_owned() })
}
