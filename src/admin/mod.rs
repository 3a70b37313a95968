//! The admin listener: metrics and health, on an address of its own, never on the clients' one.
//!
//! It answers three paths and only to a Host that is its own address or localhost: a web page that rebinds
//! its name to a loopback address must not be able to read it.

use crate::live::Live;
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use http::{Method, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Serves `/metrics`, `/healthz` and `/readyz`.
pub struct Admin {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    draining: Arc<AtomicBool>,
}

impl Admin {
    /// An admin application over what is live; `draining` is set once the process stops.
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>, draining: Arc<AtomicBool>) -> Self {
        Self { live, telemetry, draining }
    }

    fn answer(&self, method: &Method, path: &str, host: &str) -> Answer {
        if !is_local(host) {
            return Answer::text(StatusCode::FORBIDDEN, "ask by address or as localhost\n");
        }
        if method != Method::GET && method != Method::HEAD {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match path {
            "/healthz" => Answer::text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => Answer::text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
        }
    }

    fn ready(&self) -> Answer {
        if self.draining.load(Relaxed) {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        if self.live.snapshot().is_ready() {
            Answer::text(StatusCode::OK, "ready\n")
        } else {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "no target could be tried\n")
        }
    }

    fn metrics(&self) -> Answer {
        let metrics = &self.telemetry.metrics;
        let dropped = self.telemetry.access_log.dropped();
        metrics.access_log_dropped.set(i64::try_from(dropped).unwrap_or(i64::MAX));
        metrics.kept_ids.set(i64::try_from(self.live.kept().len()).unwrap_or(i64::MAX));
        match metrics.scrape(&self.live.snapshot(), self.live.clock().now()) {
            Ok(body) => Answer { status: StatusCode::OK, kind: "text/plain; version=0.0.4", body },
            Err(error) => {
                tracing::error!(%error, "metrics not rendered");
                Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics not rendered\n")
            }
        }
    }
}

struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn text(status: StatusCode, text: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: text.into() }
    }
}

/// Whether a Host header names this machine by address or as localhost.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let host = request.headers.get(http::header::HOST).and_then(|v| v.to_str().ok());
        let host = host.or_else(|| request.uri.authority().map(http::uri::Authority::as_str));
        let answer = self.answer(&request.method, request.uri.path(), host.unwrap_or_default());
        let length = answer.body.len();
        let body = if request.method == Method::HEAD { Vec::new() } else { answer.body };
        let response = Response::builder()
            .status(answer.status)
            .header(http::header::CONTENT_TYPE, answer.kind)
            .header(http::header::CONTENT_LENGTH, length)
            .header("x-content-type-options", "nosniff")
            .body(body);
        response.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_local_host_is_answered() {
        for host in ["127.0.0.1:9090", "localhost:9090", "[::1]:9090", "10.0.0.4"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example:9090", "localhost.evil.example", ""] {
            assert!(!is_local(host), "{host}");
        }
    }
}
