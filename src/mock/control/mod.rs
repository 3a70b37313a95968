//! The control endpoint: look at the backends and switch their faults, over HTTP, while they serve.
//!
//! It asks for no credential, so it only listens on loopback addresses.

mod help;
mod identity;

use crate::mock::backend::Backend;
use crate::mock::behaviour::Behaviour;
use crate::mock::connection::converse;
pub use crate::mock::control::help::{HELP, IDENTITY_HELP};
pub use crate::mock::control::identity::{EntraStatus, ImdsStatus};
use crate::mock::door::Door;
use crate::mock::fault::{Fault, Injection};
use crate::mock::fleet::Fleet;
use crate::mock::ledger::Counters;
use crate::mock::site;
use crate::mock::{Beside, MockError};

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
    world: World,
    tasks: &mut JoinSet<()>,
) -> io::Result<SocketAddr> {
    let door = site::open(address, "the control endpoint")?;
    let address = door.address();
    tasks.spawn(listen(door, world));
    Ok(address)
}

/// Everything that is controlled.
#[derive(Clone)]
pub(super) struct World {
    pub(super) fleet: Arc<Fleet>,
    pub(super) beside: Beside,
}

async fn listen(door: Door, world: World) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = door.accept() => if let Ok(stream) = accepted {
                let world = world.clone();
                let service = service_fn(move |request| handle(world.clone(), request));
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
    Help(String),
    Show(serde_json::Value),
    Bad(String),
    Unknown(String),
}

async fn handle(
    world: World,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let verdict = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => decide(&world, &parts.method, parts.uri.path(), &body.to_bytes()).await,
        Err(error) => Verdict::Bad(format!("the body could not be read: {error}")),
    };
    Ok(verdict.respond())
}

async fn decide(world: &World, method: &Method, path: &str, body: &[u8]) -> Verdict {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let World { fleet, beside } = world;
    match (method.as_str(), segments.as_slice()) {
        ("GET", []) => Verdict::help(beside),
        ("GET", ["backends"]) => {
            Verdict::show(&fleet.iter().map(|backend| status(backend)).collect::<Vec<_>>())
        }
        ("POST", ["reset"]) => {
            fleet.iter().for_each(|backend| backend.ledger.reset());
            identity::reset(beside);
            Verdict::Show(json!({"reset": true}))
        }
        (_, ["backends", name, rest @ ..]) => match fleet.get(name) {
            Ok(backend) => decide_for(backend, method, rest, body),
            Err(error) => error.into(),
        },
        (_, ["entra", rest @ ..]) => match &beside.entra {
            Some(entra) => identity::decide_for_entra(entra, method, rest, body).await,
            None => Verdict::Unknown("there is no Entra".to_owned()),
        },
        (_, ["imds", rest @ ..]) => match &beside.imds {
            Some(imds) => identity::decide_for_imds(imds, method, rest, body),
            None => Verdict::Unknown("there is no IMDS".to_owned()),
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
    fn help(beside: &Beside) -> Self {
        let more = beside.entra.as_ref().map_or("", |_| IDENTITY_HELP);
        Self::Help(format!("{HELP}{more}"))
    }

    fn show(value: &impl Serialize) -> Self {
        serde_json::to_value(value).map_or_else(|error| Self::Bad(error.to_string()), Self::Show)
    }

    fn nowhere(method: &Method, path: &str) -> Self {
        Self::Unknown(format!("there is no {method} {path}; GET / tells what there is"))
    }

    fn respond(self) -> Response<Full<Bytes>> {
        let problem = |message| json!({"error": {"message": message}});
        let (status, kind, text) = match self {
            Self::Help(text) => (StatusCode::OK, "text/plain; charset=utf-8", text),
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
