//! The clients: an open loop of streamed chat requests, each timed from the sending to its first content token.
//!
//! Open loop: a request leaves when its time has come, however many are still waiting, as users do. The times
//! of one run are drawn from its seed, so that every contender gets its requests at the same moments.

use crate::contender::MODEL;
use anyhow::Context;
use firstlight::azure::route::Operation;
use firstlight::azure::sse::Scanner;
use firstlight::clock::Clock;
use firstlight::rng::Rng;
use firstlight::time::Time;
use reqwest::Client;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;

/// Requests each second and contender, on average.
const RATE: f64 = 20.0;

/// How long a client waits for the end of its answer: far longer than anything but a request that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// One request as its client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it was sent, since the beginning of the scenario.
    pub(crate) sent: Time,
    /// When its first content token came, if one came.
    pub(crate) ttft: Option<Duration>,
    /// Why it is no success: a status, an error event, a broken stream, or no end at all.
    pub(crate) failure: Option<String>,
}

/// When requests leave: like calls of people who do not know of each other (a Poisson process). The same
/// `seed` gives the same times.
pub(crate) fn arrivals(length: Duration, seed: u64) -> Vec<Time> {
    let mut rng = Rng::from_seed(seed);
    let mut at = Time::ZERO;
    let gaps = std::iter::from_fn(|| {
        at = at + Duration::from_secs_f64(-(1.0 - rng.unit()).ln() / RATE);
        Some(at)
    });
    gaps.take_while(|at| *at < Time::at(length)).collect()
}

/// Sends a request at each of these times, and waits for all of them to end.
pub(crate) async fn send_all(
    proxy: SocketAddr,
    arrivals: &[Time],
    clock: Clock,
) -> anyhow::Result<Vec<Sample>> {
    // Nothing here speaks TLS, but a client is not built without its parts.
    pingora_core::tls::install_default_crypto_provider();
    let client = Client::builder().tls_certs_only([]).no_proxy().build()?;
    let mut asked = JoinSet::new();
    for due in arrivals {
        tokio::time::sleep(due.since(clock.now())).await;
        asked.spawn(ask(client.clone(), proxy, clock));
    }
    let mut samples = Vec::with_capacity(arrivals.len());
    while let Some(sample) = asked.join_next().await {
        samples.push(sample.context("a client panicked")?);
    }
    Ok(samples)
}

async fn ask(client: Client, proxy: SocketAddr, clock: Clock) -> Sample {
    let mut sample = Sample { sent: clock.now(), ttft: None, failure: None };
    let reading = read(&client, proxy, clock, &mut sample);
    let ended = tokio::time::timeout(PATIENCE, reading).await;
    sample.failure = match ended {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(_) => Some("no end".to_owned()),
    };
    sample
}

/// Reads one answer to its end; an error is what makes it useless to its client.
async fn read(
    client: &Client,
    proxy: SocketAddr,
    clock: Clock,
    sample: &mut Sample,
) -> Result<(), String> {
    let url = format!("http://{proxy}/openai/v1/chat/completions");
    let body = serde_json::json!({
        "model": MODEL,
        "stream": true,
        "messages": [{ "role": "user", "content": "Why is the sky dark at night?" }],
    });
    let broken = |_| "connection";
    let mut answer = client.post(url).json(&body).send().await.map_err(broken)?;
    if !answer.status().is_success() {
        return Err(answer.status().as_u16().to_string());
    }
    let mut scanner = Scanner::new(Operation::ChatCompletions);
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        let seen = scanner.scan(&chunk);
        if seen.first_token_end.is_some() {
            sample.ttft = Some(clock.now().since(sample.sent));
        }
        if seen.error.is_some() {
            return Err("error event".to_owned());
        }
    }
    if scanner.finish().done { Ok(()) } else { Err("incomplete".to_owned()) }
}
