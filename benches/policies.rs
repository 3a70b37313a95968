//! Compares the policies in every event and writes the table that the README quotes.
//!
//! ```text
//! cargo bench --bench policies     # everything, with 12 seeds; writes benches/POLICIES.md
//! cargo test  --bench policies     # each row once, quickly, to see that it still runs; writes nothing
//! ```
//!
//! Same code, same seeds, same table: no figure here is a measurement of this machine but the last line.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that cannot run must stop; it speaks to people; it reads the clock"
)]

use firstlight::sim::{
    Burst, Cached, EVENTS, Event, Figures, Group, Scenario, Summary, Tail, Wander, balancer, run,
};
use std::fmt::Write;
use std::time::{Duration, Instant};

const NAMES: &[&str] = &["eastus2", "swedencentral", "westus3"];
const FIVE: &[&str] = &["eastus2", "swedencentral", "westus3", "uksouth", "japaneast"];
/// The events with one healthy region, which depend on how many others there are.
const ONE_LEFT: &[&str] = &["all_but_one_5xx", "all_but_one_refuse", "all_but_one_mix", "rolling"];
const POLICIES: &[&str] =
    &["round_robin", "random", "least_requests", "p2c", "ema", "lookout", "oracle"];

/// How much is run.
struct Plan {
    seeds: u64,
    length: Duration,
}

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench")
        && !std::env::args().any(|argument| argument == "--test");
    let plan = if full {
        Plan { seeds: 12, length: Duration::from_mins(90) }
    } else {
        Plan { seeds: 1, length: Duration::from_mins(9) }
    };
    let text = document(&plan);
    println!("{text}");
    if full {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/POLICIES.md"), &text).unwrap();
    }
    let start = Instant::now();
    let scenario = world(&plan, 10.0, 2.0).with_event("slow10").unwrap();
    let one = compare(&scenario, "lookout", 1);
    let requests = one.runs.first().map_or(0, |figures| figures.requests);
    println!("one run of lookout, {requests} requests in the fault: {:?}", start.elapsed());
}

fn world(plan: &Plan, rps: f64, headroom: f64) -> Scenario {
    Scenario::healthy(NAMES, rps, headroom, plan.length)
}

fn compare(scenario: &Scenario, policy: &str, seeds: u64) -> Summary {
    let one = |seed| {
        let mut balancer = balancer(policy, scenario, seed).unwrap();
        Figures::from(&run(scenario, seed, balancer.as_mut()))
    };
    let runs = (1..=seeds).map(one).collect();
    Summary { scenario: scenario.name.clone(), policy: policy.to_owned(), runs }
}

fn document(plan: &Plan) -> String {
    let mut text = format!(
        "# Policies compared\n\n\
         Written by `cargo bench --bench policies`; means over seeds 1 to {}. A synthetic Azure on a virtual clock,\n\
         not a measured one: the model stands in `src/sim/`. Try others with `firstlight simulate`.\n\n\
         Each cell: requests over 4 times the healthy median for their prompt, of those that came during the fault\n\
         (20 of 90 minutes), and `+` errors in the whole run (who left unanswered is both). **Bold**: the best of those that do not know the truth.\n\
         The oracle knows which region is bad, and does not hedge.\n",
        plan.seeds
    );
    let settings = [
        ("Any region could carry everything (headroom 30), 1 request/s", 1.0, 30.0),
        ("Any region could carry everything (headroom 30), 10 requests/s", 10.0, 30.0),
        ("Each region sized for two thirds of the load (headroom 2), 10 requests/s", 10.0, 2.0),
        (
            "Two regions just carry the load (headroom 1.5), 10 requests/s: where routing alone loses",
            10.0,
            1.5,
        ),
    ];
    for (title, rps, headroom) in settings {
        let healthy = world(plan, rps, headroom);
        let events = EVENTS.iter().filter(|event| event.group == Group::Basic);
        let events = events.map(|event| healthy.with_event(event.name).unwrap());
        slow_table(&mut text, title, events.collect(), plan);
    }
    let title = "Other shapes of the world, 10 requests/s, headroom 2, one region 10 times slower";
    let slow = |(name, healthy): (&str, Scenario)| Scenario {
        name: name.to_owned(),
        ..healthy.with_event("slow10").unwrap()
    };
    slow_table(&mut text, title, shapes(plan).into_iter().map(slow).collect(), plan);
    calm_table(&mut text, plan);
    cost_table(&mut text, plan);
    hard_table(&mut text, plan);
    text
}

/// Fewer seeds and minutes than elsewhere: there are many of them, and what fails there fails plainly.
fn hard_table(text: &mut String, plan: &Plan) {
    let plan = Plan { seeds: plan.seeds.min(3), length: plan.length.min(Duration::from_mins(45)) };
    let hard: Vec<_> = EVENTS.iter().filter(|event| event.group == Group::Hard).collect();
    let one_left = |event: &&&Event| ONE_LEFT.contains(&event.name);
    let some: Vec<_> = hard.iter().filter(one_left).copied().collect();
    for (regions, events) in [(3, &hard), (2, &some), (5, &some)] {
        let title = format!(
            "Hard worlds, {regions} regions, seeds 1 to {}, {} minutes",
            plan.seeds,
            plan.length.as_secs() / 60
        );
        let names = FIVE.get(..regions).unwrap();
        let world = |event: &&Event| {
            let healthy = Scenario::healthy(names, rate(event.name), 2.0, plan.length);
            healthy.with_event(event.name).unwrap()
        };
        slow_table(text, &title, events.iter().map(world).collect(), &plan);
    }
}

/// The load of a hard world, in requests a second.
fn rate(event: &str) -> f64 {
    if event.ends_with("_totals") { 5.0 } else { 10.0 }
}

fn slow_table(text: &mut String, title: &str, scenarios: Vec<Scenario>, plan: &Plan) {
    write!(text, "\n## {title}\n\n| event | requests |").unwrap();
    for policy in POLICIES {
        write!(text, " {policy} |").unwrap();
    }
    write!(text, "\n|---|---:|{}\n", "---:|".repeat(POLICIES.len())).unwrap();
    for scenario in scenarios {
        let all: Vec<Summary> =
            POLICIES.iter().map(|policy| compare(&scenario, policy, plan.seeds)).collect();
        let hurt = |summary: &Summary| summary.mean(|f| f64::from(f.slow4 + f.errors));
        let fair = all.iter().filter(|summary| summary.policy != "oracle");
        let best = fair.map(hurt).fold(f64::INFINITY, f64::min);
        let requests = all.first().map_or(0.0, |any| any.mean(|f| f64::from(f.requests)));
        write!(text, "| {} | {requests:.0} |", scenario.name).unwrap();
        for summary in &all {
            let is_best = summary.policy != "oracle" && hurt(summary) <= best;
            let mark = if is_best { "**" } else { "" };
            write!(text, " {mark}{}{mark} |", cell(summary)).unwrap();
        }
        text.push('\n');
    }
}

fn cell(summary: &Summary) -> String {
    let slow = count(summary.mean(|f| f64::from(f.slow4)));
    let errors = count(summary.mean(|f| f64::from(f.errors)));
    if errors == "0" { slow } else { format!("{slow} +{errors}") }
}

fn count(mean: f64) -> String {
    if mean >= 99.5 {
        format!("{mean:.0}")
    } else if mean < 0.05 {
        "0".to_owned()
    } else {
        format!("{mean:.1}")
    }
}

/// Other distributions, none of them with a fault.
fn shapes(plan: &Plan) -> Vec<(&'static str, Scenario)> {
    let usual = || world(plan, 10.0, 2.0);
    let (mut heavy, mut bimodal, mut wandering, mut bursts) = (usual(), usual(), usual(), usual());
    for region in &mut heavy.regions {
        (region.sigma, region.tail) = (0.7, Tail::HEAVY);
    }
    for region in &mut bimodal.regions {
        region.cached = Some(Cached { share: 0.4, factor: 0.3 });
    }
    for region in &mut wandering.regions {
        region.wander = Some(Wander { sigma: 0.3, memory: Duration::from_mins(10) });
    }
    bursts.arrivals.burst =
        Some(Burst { factor: 2.5, share: 0.2, length: Duration::from_secs(30) });
    vec![
        ("usual", usual()),
        ("heavy tail: sigma 0.7, 2 % of answers x2-5", heavy),
        ("bimodal: 40 % cache hits at 0.3 of the time", bimodal),
        ("wandering: AR(1), sigma 0.3, 10 min", wandering),
        ("rushes: 2.5 times the load for a fifth of the time", bursts),
    ]
}

fn calm_table(text: &mut String, plan: &Plan) {
    text.push_str(
        "\n## Nothing wrong, 10 requests/s, headroom 2: false alarms\n\n\
         False exclusions an hour; slow requests of 54,000; extra requests (hedges, retries, probes); their tokens.\n\n\
         | world | policy | false exclusions/h | slow | extra requests | extra tokens |\n|---|---|---:|---:|---:|---:|\n",
    );
    let hours = plan.length.as_secs_f64() / 3600.0;
    for (name, scenario) in shapes(plan) {
        for policy in ["ema", "lookout"] {
            let summary = compare(&scenario, policy, plan.seeds);
            writeln!(
                text,
                "| {name} | {policy} | {:.2} | {} | {} | {:.1} % |",
                summary.mean(|f| f64::from(f.false_exclusions)) / hours,
                count(summary.mean(|f| f64::from(f.slow4))),
                count(summary.mean(|f| f64::from(f.extra_requests))),
                summary.mean(|f| f.extra_tokens_share) * 100.0,
            )
            .unwrap();
        }
    }
}

fn cost_table(text: &mut String, plan: &Plan) {
    text.push_str(
        "\n## One region 10 times slower, 10 requests/s, headroom 2: the rest of the figures\n\n\
         First token in seconds, of requests that came during the fault. Off, back: how long after the fault's\n\
         beginning and end the region lost its traffic and had it again.\n\n\
         | policy | p50 | p95 | p99 | off | back | false exclusions | extra requests | extra tokens |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let scenario = world(plan, 10.0, 2.0).with_event("slow10").unwrap();
    let seconds = |time: Option<f64>| {
        time.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0} s"))
    };
    for policy in POLICIES {
        let summary = compare(&scenario, policy, plan.seeds);
        writeln!(
            text,
            "| {policy} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {} | {:.1} % |",
            summary.mean(|f| f.p50),
            summary.mean(|f| f.p95),
            summary.mean(|f| f.p99),
            seconds(summary.mean_of_most(|f| f.off_seconds)),
            seconds(summary.mean_of_most(|f| f.back_seconds)),
            count(summary.mean(|f| f64::from(f.false_exclusions))),
            count(summary.mean(|f| f64::from(f.extra_requests))),
            summary.mean(|f| f.extra_tokens_share) * 100.0,
        )
        .unwrap();
    }
}
