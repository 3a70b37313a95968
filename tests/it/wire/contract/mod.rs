//! The status contract: what each answer of a backend means, row by row.
//!
//! Three things are held in each row: what counts against the backend (its state, its strikes, what is learned of
//! its speed, and the outcome that is counted), whether another backend was asked, and the whole of what the
//! client sees. The same table as pure verdicts is in `azure::status`.
//!
//! | the backend's answer | its test |
//! |---|---|
//! | 2xx with a first content token | `streams::the_first_content_token_is_timed` |
//! | 2xx that ends, or fails, before any content | `streams::a_stream_without_content_is_an_error_and_goes_elsewhere` |
//! | the same with a rate limit's code | `streams::a_limit_told_inside_a_stream_is_a_limit` |
//! | 2xx that is empty or not in its form | `malformed::what_is_not_in_its_form_goes_elsewhere` |
//! | 2xx of JSON that is cut midway | `cut::a_small_response_that_is_cut_goes_elsewhere` |
//! | 2xx that breaks after content | `streams::what_breaks_after_content_is_told_and_never_spliced` |
//! | 2xx that is half, whole or failed by its own events, however its connection ends | `endings::*` |
//! | 400, 405, 413, 415, 422 | `refusals::what_is_about_the_request_is_passed_on_unchanged` |
//! | 404, 410 to what names nothing that is kept | `refusals::what_is_not_there_is_looked_for_in_one_other_place` |
//! | 4xx of an attempt that is not the first | `aside::*` |
//! | 400 to encrypted content | `encrypted::*` |
//! | 401, 403 | `refusals::a_refused_credential_is_never_the_clients` |
//! | 404 of a deployment that is configured | `refusals::a_deployment_that_should_be_there_is_looked_for_elsewhere` |
//! | 408, 499, 500, 502, 503, 504 | `failures::an_error_of_the_service_goes_elsewhere` |
//! | no connection, no TLS, no name, a reset | `failures::a_connection_that_fails_goes_elsewhere` |
//! | any of these, to what leaves something behind | `failures::what_leaves_something_behind_is_sent_twice_only_if_nobody_worked_on_it` |
//! | 409 | `refusals::a_conflict_goes_elsewhere_only_if_it_says_when` |
//! | 401 beside other failures | `refusals::a_credential_that_is_refused_beside_other_failures_is_not_to_blame` |
//! | 429 | `limits::*` |
//! | nothing, since the client hung up | `streams::a_client_that_hangs_up_teaches_nothing` |
//! | nothing: the failure is our own | `failures::our_own_failures_name_our_own_causes` |
//!
//! The first region is where every request goes first.

mod aside;
mod bucket;
mod canned;
mod cut;
mod encrypted;
mod endings;
mod failures;
mod limits;
mod malformed;
mod refusals;
mod streams;

use crate::support::{Answer, Setup, V1_CHAT, World, chat, streamed_chat, wait_until};
use firstlight::azure::error::ClientError;
use firstlight::mock::Fault;
use firstlight::routing::{State, View};
use firstlight::time::Time;
use serde_json::{Value, json};
use std::time::Duration;

/// Names that no error body holds by chance.
const FIRST: &str = "northeu";
const OTHERS: [&str; 2] = ["westus", "japaneast"];
const ALL: [&str; 3] = [FIRST, OTHERS[0], OTHERS[1]];
const V1_RESPONSES: &str = "/openai/v1/responses";

fn setup() -> Setup {
    Setup { regions: ALL.to_vec(), ..Setup::default() }
}

async fn world() -> World {
    World::of(setup()).await
}

/// A world whose first region has this fault.
async fn ill(fault: Fault) -> World {
    let world = world().await;
    set_ill(&world, &[FIRST], fault).await;
    world
}

/// A world in which all have it.
async fn all_ill(fault: Fault) -> World {
    let world = world().await;
    set_ill(&world, &ALL, fault).await;
    world
}

async fn set_ill(world: &World, regions: &[&str], fault: Fault) {
    for region in regions {
        world.fault(region, fault.clone());
        if fault == Fault::Refuse {
            world.mock.wait_until(region, |c| !c.listening).await.unwrap();
        }
    }
}

// ---- What counts against a backend ----

fn view(world: &World, region: &str) -> View {
    let live = world.proxy.live();
    let model = live.snapshot().model("gpt-4o").cloned().unwrap();
    model.pool.view(model.pool.position(region).unwrap(), live.clock().now()).unwrap()
}

fn now(world: &World) -> Time {
    world.proxy.live().clock().now()
}

fn check_strikes(world: &World, region: &str, strikes: f64) {
    let view = view(world, region);
    assert!((view.strikes - strikes).abs() < 1e-9, "{region}: {view:?}");
}

/// No strike, no latency, no rest, no attempt that was forgotten.
fn check_nothing_learned(world: &World, region: &str) {
    check_strikes(world, region, 0.0);
    let view = view(world, region);
    assert_eq!((view.state, view.base_ms), (State::Healthy, None), "{region}: {view:?}");
    assert_eq!((view.limited, view.in_flight), (Duration::ZERO, 0), "{region}: {view:?}");
    assert!(!view.blocks.any(), "{region}: {view:?}");
}

/// All attempts at a region as they were counted: outcome and number, by name.
async fn attempts(world: &World, region: &str) -> String {
    let series =
        format!("firstlight_attempts_total{{backend=\"{region}\",model=\"gpt-4o\",outcome=\"");
    let text = world.admin("/metrics").await.1;
    let counted = text.lines().filter_map(|line| line.strip_prefix(&series));
    counted.map(|it| it.replace("\"}", "")).collect::<Vec<_>>().join(", ")
}

async fn probes(world: &World, outcome: &str) -> String {
    let labels = format!("backend=\"{FIRST}\",model=\"gpt-4o\",outcome=\"{outcome}\"");
    world.metric(&format!("firstlight_probes_total{{{labels}}}")).await
}

// ---- Whether another backend was asked ----

fn asked_elsewhere(world: &World) -> u64 {
    OTHERS.iter().map(|region| world.requests(region)).sum()
}

// ---- What the client sees ----

/// Served by another region, as if nothing had been.
fn check_rescued(answer: &Answer) {
    answer.assert_whole_stream();
    assert_eq!(answer.attempts(), Some(2));
    assert_ne!(answer.backend(), Some(FIRST));
}

/// An answer of ours, whole: its status, its body and its headers, and nobody's name.
fn check_ours(answer: &Answer, (status, code): (u16, &str), error: &ClientError) {
    assert_eq!((answer.status, &*answer.error_code()), (status, code), "{}", answer.text());
    assert_eq!((error.status().as_u16(), error.code()), (status, code));
    assert_eq!(answer.body, error.body(), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let wait = error.retry_after_seconds().map(|seconds| seconds.to_string());
    assert_eq!(answer.header("retry-after"), wait.as_deref());
    check_nobody_is_named(answer);
}

fn check_nobody_is_named(answer: &Answer) {
    let headers = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}"));
    let said: String = headers.chain([answer.text().to_owned()]).collect::<Vec<_>>().join("\n");
    for name in ALL.iter().chain(&["127.0.0.1", "x-firstlight-backend", "apim", "x-ms-"]) {
        assert!(!said.contains(name), "{name} in {said}");
    }
}

fn nothing_left() -> ClientError {
    ClientError::NothingLeft { retry_after: Duration::from_secs(5) }
}

fn no_token() -> ClientError {
    ClientError::NoToken { retry_after: Duration::from_secs(5) }
}

/// The questions that leave nothing behind, and so may be asked twice.
fn plain() -> [(&'static str, Value); 3] {
    [(V1_CHAT, streamed_chat()), (V1_CHAT, chat()), (V1_RESPONSES, response())]
}

/// A question to the Responses API, streamed, whose answer is not kept.
fn response() -> Value {
    json!({"model": "gpt-4o", "stream": true, "store": false, "input": "Say hi"})
}

/// The same, and its answer is to be kept. (What only the default keeps is in `wire::effects`.)
fn kept_response() -> Value {
    json!({"model": "gpt-4o", "stream": true, "store": true, "input": "Say hi"})
}

/// Waits until nothing of a request is under way any more.
async fn settled(world: &World) {
    wait_until("nothing in flight", || world.proxy.in_flight() == 0).await;
}
