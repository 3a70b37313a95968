//! The clients: the same requests at the same moments to both proxies.
//!
//! Open loop: a request is sent when its time has come, however late the answers to earlier ones are. A load
//! that waits for its answers would spare a slow region and hide what users feel. What a client measures is
//! its own: the proxies' figures have no part in it.

use crate::azure::route::Operation;
use crate::azure::sse::Scanner;
use crate::clock::Clock;
use crate::demo::DemoError;
use crate::demo::tally::Failure;
use crate::demo::tally::Sample;
use crate::demo::world::KEY;
use crate::demo::world::MODEL;
use crate::demo::world::Side;
use crate::time::Time;
use reqwest::{RequestBuilder, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Which region answered, in the words of the proxy.
const REGION_HEADER: &str = "x-firstlight-backend";
/// No client waits longer for a whole answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many requests may be on their way at once; more would measure this process and not the proxies.
const WAITING_MAX: usize = 1_000;

/// The clients of both proxies.
pub(super) struct Clients {
    http: reqwest::Client,
    clock: Clock,
    sides: [Arc<Side>; 2],
}

impl Clients {
    /// Clients whose samples are on `clock`.
    pub(super) fn new(sides: [Arc<Side>; 2], clock: Clock) -> Result<Self, DemoError> {
        // A build with TLS does not make a client without its parts, even one that speaks none.
        pingora_core::tls::install_default_crypto_provider();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        Ok(Self { http: http.map_err(DemoError::Client)?, clock, sides })
    }

    /// Sends `rate` requests a second to each side for `length`, and waits for all answers.
    pub(super) async fn send(&self, rate: u32, length: Duration) {
        let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut waiting = JoinSet::new();
        let end = Time::ZERO + length;
        loop {
            ticks.tick().await;
            let now = self.clock.now();
            if now >= end {
                break;
            }
            while waiting.try_join_next().is_some() {}
            self.sides.iter().for_each(|side| self.start(side, now, &mut waiting));
        }
        while waiting.join_next().await.is_some() {}
    }

    fn start(&self, side: &Arc<Side>, now: Time, waiting: &mut JoinSet<()>) {
        if waiting.len() < WAITING_MAX {
            waiting.spawn(record(Arc::clone(side), self.ask(side), self.clock));
        } else {
            side.tally.lock().add(failed(now, Failure::NotSent));
        }
    }

    fn ask(&self, side: &Side) -> RequestBuilder {
        let body = serde_json::json!({ "model": MODEL, "stream": true,
            "messages": [{ "role": "user", "content": "Count to ten." }] });
        let url = format!("http://{}/openai/v1/chat/completions", side.address());
        self.http.post(url).header("api-key", KEY).json(&body)
    }
}

async fn record(side: Arc<Side>, request: RequestBuilder, clock: Clock) {
    let mut sample = failed(clock.now(), Failure::Transport);
    if let Ok(response) = request.send().await {
        let region = response.headers().get(REGION_HEADER).and_then(|value| value.to_str().ok());
        sample.region = region.map(str::to_owned);
        sample.failure = read(response, &mut sample, clock).await.err();
    }
    side.tally.lock().add(sample);
}

/// Reads an answer to its end and times its first content token.
async fn read(mut response: Response, sample: &mut Sample, clock: Clock) -> Result<(), Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::Status(response.status().as_u16()));
    }
    let mut scanner = Scanner::new(Operation::ChatCompletions);
    let mut seen = scanner.finish();
    while let Some(chunk) = response.chunk().await.map_err(|_| Failure::Transport)? {
        seen = scanner.scan(&chunk);
        if seen.first_token && sample.ttft.is_none() {
            sample.ttft = Some(clock.now().since(sample.sent));
        }
    }
    match (seen.error, seen.first_token && seen.done) {
        (Some(_), _) => Err(Failure::ErrorEvent),
        (None, false) => Err(Failure::Incomplete),
        (None, true) => Ok(()),
    }
}

fn failed(sent: Time, failure: Failure) -> Sample {
    Sample { sent, ttft: None, region: None, failure: Some(failure) }
}
