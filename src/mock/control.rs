//! The control endpoint: look at the backends and switch their faults, over HTTP, while they serve.
//!
//! It asks for no credential, so it only listens on loopback addresses.

use crate::mock::MockError;
use crate::mock::backend::Backend;
use crate::mock::behaviour::Behaviour;
use crate::mock::connection::converse;
use crate::mock::door::Door;
use crate::mock::fault::{Fault, Injection};
use crate::mock::fleet::Fleet;
use crate::mock::ledger::Counters;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What `GET /` of the control endpoint says.
pub const HELP: &str = r#"The control endpoint of a mock Azure OpenAI. ADDRESS is where you found this text.

  curl ADDRESS/backends                          every backend: address, behaviour, fault, counters
  curl ADDRESS/backends/NAME/requests            its last 64 requests, with their headers
  curl -X PUT ADDRESS/backends/NAME/fault -d '{"fault": {"slow": {"factor": 10}}, "share": 0.5, "for_seconds": 30}'
  curl -X DELETE ADDRESS/backends/NAME/fault     all is well again
  curl -X PUT ADDRESS/backends/NAME/behaviour -d '{"ttft_median_ms": 200, "headers": "late"}'
  curl -X POST ADDRESS/reset                     forget the counters and requests of all backends

Faults ("share" and "for_seconds" may stand beside each):
  {"fault": {"slow": {"factor": 10, "add_ms": 0}}}         {"fault": {"half_slow": {"factor": 10}}}
  {"fault": {"drift": {"factor": 10, "over_seconds": 60}}} {"fault": {"slow_tokens": {"factor": 20}}}
  {"fault": "freeze_before_headers"}  {"fault": "freeze_after_headers"}
  {"fault": "freeze_after_filter"}    {"fault": "freeze_after_role"}
  {"fault": {"status_429": {"retry_after": {"seconds": 5}, "limit": "token_rate"}}}
      retry_after: "none", {"seconds": 5}, {"millis": 1500}, {"date": 20}, {"both": {"seconds": 1, "millis": 0}}
      limit: "token_rate", "call_rate", "peak_load", "provisioned"
  {"fault": {"status_5xx": {"status": 503}}}               500, 502, 503, 504 or 408
  {"fault": "reset"}  {"fault": "refuse"}  {"fault": "garbage"}  {"fault": {"truncate": {"after_tokens": 3}}}
  {"fault": "error_after_200"}  {"fault": "error_after_200_rate_limit"}  {"fault": "end_before_content"}
  {"fault": "wrong_key"}  {"fault": "forbidden"}  {"fault": "unknown_deployment"}  {"fault": "none"}
"#;

/// A backend as the control endpoint shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it behaves when it is well.
    pub behaviour: Behaviour,
    /// What is wrong with it.
    pub fault: Injection,
    /// What it has counted.
    pub counters: Counters,
}

/// Bodies of control requests are short.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Opens the control endpoint and serves it from a task of `tasks`.
pub(super) fn start(
    address: SocketAddr,
    fleet: Arc<Fleet>,
    tasks: &mut JoinSet<()>,
) -> io::Result<SocketAddr> {
    if !address.ip().is_loopback() {
        let problem = format!("{address}: the control endpoint only listens on a loopback address");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let door = Door::open(address)
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    let address = door.address();
    tasks.spawn(listen(door, fleet));
    Ok(address)
}

async fn listen(door: Door, fleet: Arc<Fleet>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = door.accept() => if let Ok(stream) = accepted {
                let fleet = Arc::clone(&fleet);
                let service = service_fn(move |request| handle(Arc::clone(&fleet), request));
                connections.spawn(converse(stream, service));
            } else {
                sleep(Duration::from_millis(20)).await;
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// What a control request comes to: a value to show, or a problem to tell.
enum Verdict {
    Help,
    Show(serde_json::Value),
    Bad(String),
    Unknown(String),
}

async fn handle(
    fleet: Arc<Fleet>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let verdict = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => decide(&fleet, &parts.method, parts.uri.path(), &body.to_bytes()),
        Err(error) => Verdict::Bad(format!("the body could not be read: {error}")),
    };
    Ok(verdict.respond())
}

fn decide(fleet: &Fleet, method: &Method, path: &str, body: &[u8]) -> Verdict {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", []) => Verdict::Help,
        ("GET", ["backends"]) => {
            Verdict::show(&fleet.iter().map(|backend| status(backend)).collect::<Vec<_>>())
        }
        ("POST", ["reset"]) => {
            fleet.iter().for_each(|backend| backend.ledger.reset());
            Verdict::Show(json!({"reset": true}))
        }
        (_, ["backends", name, rest @ ..]) => match fleet.get(name) {
            Ok(backend) => decide_for(backend, method, rest, body),
            Err(error) => error.into(),
        },
        _ => Verdict::nowhere(method, path),
    }
}

fn decide_for(backend: &Backend, method: &Method, rest: &[&str], body: &[u8]) -> Verdict {
    let changed = match (method.as_str(), rest) {
        ("GET", []) => Ok(()),
        ("GET", ["requests"]) => return Verdict::show(&backend.ledger.recent()),
        ("PUT", ["fault"]) => {
            read::<Injection>(body).and_then(|injection| backend.inject(injection))
        }
        ("DELETE", ["fault"]) => backend.inject(Fault::None.into()),
        ("PUT", ["behaviour"]) => {
            read(body).and_then(|patch| backend.change_behaviour(|present| present.patched(patch)))
        }
        _ => {
            return Verdict::nowhere(
                method,
                &format!("/backends/{}/{}", backend.name, rest.join("/")),
            );
        }
    };
    match changed {
        Ok(()) => Verdict::show(&status(backend)),
        Err(problem) => Verdict::Bad(problem),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn status(backend: &Backend) -> BackendStatus {
    BackendStatus {
        name: backend.name.clone(),
        region: backend.region.clone(),
        address: backend.address,
        behaviour: backend.behaviour(),
        fault: backend.injection(),
        counters: backend.ledger.counters(),
    }
}

impl Verdict {
    fn show(value: &impl Serialize) -> Self {
        serde_json::to_value(value).map_or_else(|error| Self::Bad(error.to_string()), Self::Show)
    }

    fn nowhere(method: &Method, path: &str) -> Self {
        Self::Unknown(format!("there is no {method} {path}; GET / tells what there is"))
    }

    fn respond(self) -> Response<Full<Bytes>> {
        let problem = |message| json!({"error": {"message": message}});
        let (status, kind, text) = match self {
            Self::Help => (StatusCode::OK, "text/plain; charset=utf-8", HELP.to_owned()),
            Self::Show(value) => (StatusCode::OK, "application/json", format!("{value:#}\n")),
            Self::Bad(message) => {
                (StatusCode::BAD_REQUEST, "application/json", format!("{:#}\n", problem(message)))
            }
            Self::Unknown(message) => {
                (StatusCode::NOT_FOUND, "application/json", format!("{:#}\n", problem(message)))
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        response
    }
}

impl From<MockError> for Verdict {
    fn from(error: MockError) -> Self {
        let message = error.to_string();
        match error {
            MockError::UnknownBackend(_) => Self::Unknown(message),
            MockError::Invalid(_) | MockError::NotReached { .. } => Self::Bad(message),
        }
    }
}
