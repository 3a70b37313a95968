//! End to end: what clients feel when one of three regions goes bad, behind Firstlight and behind nginx.
//!
//! ```text
//! benches/wire/run                                      # everything, about six minutes
//! cargo bench --bench wire -- --scenario slow --json
//! ```
//!
//! Everything is real but the model: sockets of 127.0.0.1, streams, time-outs. Each contender stands before a
//! fleet of its own ([`fleet`]) whose regions fail at the same times ([`scenario`], [`story`]), and gets the
//! same requests at the same moments ([`client`]). How a policy that prefers one region fares depends on which
//! one that is just then, so each scenario is played several times, with other seeds.
//!
//! The runs and contenders of a scenario run at the same time in one process, nginx beside it: with four runs
//! of four contenders some 320 streams a second, less than one core's work, so that they do not disturb each
//! other by more than some milliseconds. What costs CPU is therefore not measured here.
//!
//! Without `--bench` among the arguments (`cargo test`) one second of one scenario is played, to see that it
//! all still works.

mod client;
mod contender;
mod fleet;
mod nginx;
mod report;
mod scenario;
mod story;

use anyhow::{Context, ensure};
use clap::Parser;
use contender::{Contender, Kind, SETTINGS};
use firstlight::clock::Clock;
use report::{HEADER, Row, Run};
use scenario::Scenario;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The allocator of the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What clients feel when one of three regions goes bad, behind Firstlight and behind nginx.
#[derive(Debug, Parser)]
struct Options {
    /// Play only this one: slow, slow-late, black-hole, 429, 5xx, quiet. Repeat for more.
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
    /// How often each scenario is played, with other times of requests and answers; 1 to 10.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    runs: u64,
    /// Multiply the length of everything, not the thresholds; 0.01 to 2.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    seconds_scale: f64,
    /// Print JSON instead of a Markdown table.
    #[arg(long)]
    json: bool,
    /// The nginx to compare with; without one its rows are missing.
    #[arg(long, value_name = "PATH", default_value = "nginx")]
    nginx: PathBuf,
    /// What cargo says when this is no test.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if std::env::args().any(|argument| argument == "--bench") {
        runtime.block_on(compare(&Options::parse()))
    } else {
        runtime.block_on(smoke())
    }
}

/// Plays what was asked for, one scenario after the other.
async fn compare(options: &Options) -> anyhow::Result<()> {
    let scenarios = wanted(options)?;
    ensure!((1..=10).contains(&options.runs), "--runs must lie between 1 and 10");
    let mut kinds = ["lookout", "ema", "round_robin"].map(Kind::Firstlight).to_vec();
    if nginx::exists(&options.nginx) {
        kinds.push(Kind::Nginx(options.nginx.clone()));
    }
    if !options.json {
        say(&format!("Firstlight's thresholds: {SETTINGS}."))?;
        if kinds.len() == 3 {
            say("No nginx was found: its rows are missing.")?;
        }
        say(&format!("\n{HEADER}"))?;
    }
    let mut rows = Vec::new();
    for scenario in scenarios {
        let played = play(&kinds, scenario, options.runs).await?;
        if !options.json {
            played.iter().try_for_each(|row| say(&row.to_string()))?;
        }
        rows.extend(played);
    }
    if options.json {
        say(&serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

fn wanted(options: &Options) -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = scenario::all(options.seconds_scale)?;
    let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
    for name in &options.scenarios {
        ensure!(names.contains(&name.as_str()), "no scenario {name:?}; there are {names:?}");
    }
    let all = options.scenarios.is_empty();
    scenarios.retain(|s| all || options.scenarios.iter().any(|name| name == s.name));
    Ok(scenarios)
}

/// Plays all runs of one scenario for all contenders at the same time; a row for each contender.
async fn play(kinds: &[Kind], scenario: Scenario, runs: u64) -> anyhow::Result<Vec<Row>> {
    let limit = scenario.ends() + client::PATIENCE + Duration::from_secs(10);
    let scenario = Arc::new(scenario);
    let mut contenders = Vec::new();
    for (place, kind) in kinds.iter().enumerate() {
        for seed in 1..=runs {
            contenders.push((place, seed, Contender::start(kind, &scenario, seed).await?));
        }
    }
    let (clock, mut playing) = (Clock::start(), JoinSet::new());
    for (place, seed, contender) in contenders {
        let scenario = Arc::clone(&scenario);
        playing.spawn(async move { (place, run(contender, &scenario, seed, clock).await) });
    }
    let mut played: Vec<Vec<Run>> = kinds.iter().map(|_| Vec::new()).collect();
    let all = async {
        while let Some(ended) = playing.join_next().await {
            let (place, run) = ended.context("a run panicked")?;
            played.get_mut(place).context("no such contender")?.push(run?);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(limit, all).await.context("a scenario did not end")??;
    let rows = kinds.iter().zip(&played);
    Ok(rows.map(|(kind, runs)| Row::new(&scenario, kind.name(), runs)).collect())
}

async fn run(
    contender: Contender,
    scenario: &Scenario,
    seed: u64,
    clock: Clock,
) -> anyhow::Result<Run> {
    let arrivals = client::arrivals(scenario.ends(), seed);
    let clients = client::send_all(contender.address, &arrivals, clock);
    let (samples, story) = tokio::join!(clients, story::play(&contender, scenario, clock));
    Ok(Run { samples: samples?, story: story? })
}

/// A second of nothing through Firstlight: whoever broke this bench learns it from the tests.
async fn smoke() -> anyhow::Result<()> {
    let mut scenarios = scenario::all(1.0 / 60.0)?;
    let quiet = scenarios.pop().context("no scenario")?;
    let rows = play(&[Kind::Firstlight("lookout")], quiet, 1).await?;
    for row in rows {
        ensure!(row.requests() > 0 && row.failed() == 0, "requests failed: {row}");
    }
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}
