//! A request for something that is kept here, from its body to its place on the clock.

use crate::mock::behaviour::Pace;
use crate::mock::fields;
use crate::mock::ledger::Visit;
use crate::mock::refusal::Refusal;
use crate::mock::reply::Reply;
use crate::mock::route::query_value;
use crate::mock::script::Ending;
use crate::mock::service::Exchange;
use crate::mock::store::Page;
use crate::mock::store::act::{Found, Order, act};
use crate::mock::work::{EVENTS, Whole, Work, send};
use http::Method;
use serde_json::Value;

/// Collections whose resources name a deployment, not a model that could be deployed.
const NAMING: &[&str] = &["assistants", "threads", "responses", "realtime", "videos"];

/// Answers it.
pub(super) fn reply(
    exchange: &Exchange,
    path: &[String],
    pace: Pace,
    ending: &Ending,
    visit: &Visit,
) -> Result<Reply, Refusal> {
    let (backend, parts) = (&exchange.backend, &exchange.parts);
    let body = fields::body(&parts.headers, &exchange.received.bytes)?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let named = body.fields.pointer("/session/model").or_else(|| body.fields.get("model"));
    if let Some(model) = named.and_then(Value::as_str).filter(|_| parts.method == Method::POST) {
        visit.model(model);
        if path.first().is_some_and(|first| NAMING.contains(first)) && !backend.deploys(model) {
            return Err(Refusal::unknown_deployment());
        }
    }
    let replayed = query_value(&parts.uri, "stream").as_deref() == Some("true");
    let after =
        query_value(&parts.uri, "starting_after").and_then(|after| after.parse::<u64>().ok());
    let now = backend.clock.unix();
    let order = Order {
        method: &parts.method,
        path: &path,
        page: Page::of(&parts.uri),
        replay: replayed.then(|| after.map_or(0, |after| after.saturating_add(1))),
        body,
        tokens: backend.behaviour().tokens,
        now: now.as_secs(),
    };
    let timing = backend.timing(pace);
    let found = act(&mut backend.shelf.lock(), &order)?;
    let work = match found {
        Found::Json(value) => Work::Whole(Whole::json(timing.headers, &value)),
        Found::File(kind, body) => Work::Whole(Whole { at: timing.headers, kind, body, tokens: 0 }),
        Found::Events(pieces) => {
            visit.streams();
            Work::Stream(EVENTS, pieces)
        }
    };
    Ok(send(work, timing, ending, now))
}
