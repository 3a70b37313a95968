//! `firstlight simulate`: what a policy makes of a failure, on a virtual clock.

use crate::cli::Exit;
use crate::cli::say;
use crate::config::checked::{Config, Model};
use crate::sim::{
    Balancer, EVENTS, Engine, Figures, POLICIES, Region, Scenario, Summary, Tuning, balancer,
    heading, row, run,
};
use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;
use std::time::Duration;

/// The regions of the built-in worlds; as many are used as are asked for.
const REGIONS: &[&str] = &[
    "eastus2",
    "swedencentral",
    "westus3",
    "uksouth",
    "japaneast",
    "francecentral",
    "australiaeast",
    "canadaeast",
];
/// The name of the policy that the operator's file describes.
const CONFIGURED: &str = "configured";
const ALL: &str = "all";

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// What goes wrong; may be given several times.
    #[arg(long, value_name = "NAME", default_value = "slow10", value_parser = events())]
    event: Vec<String>,
    /// Which policies to compare; may be given several times. Default: all.
    #[arg(long, value_name = "NAME", value_parser = policies())]
    policy: Vec<String>,
    /// Requests a second. [default: 10]
    #[arg(long, value_name = "R", value_parser = positive)]
    rps: Option<f64>,
    /// What all regions together can serve, in loads. [default: 2]
    #[arg(long, value_name = "H", value_parser = positive)]
    headroom: Option<f64>,
    /// Regions of the built-in world, 1 to 8. [default: 3]
    #[arg(long, value_name = "N", conflicts_with = "config", value_parser = clap::value_parser!(u8).range(1..=8))]
    regions: Option<u8>,
    /// Virtual minutes, 6 to 1440; most events last from 1/3 to 5/9 of them. [default: 90]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(6..=1440))]
    minutes: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many seeds; figures are means over them.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Add your own settings and backends: a configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which of its models; needed if there are several.
    #[arg(long, value_name = "NAME", requires = "config")]
    model: Option<String>,
    /// A world of your own, faults included: a file like conf/scenario.yaml.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event", "rps", "headroom", "minutes", "regions"])]
    scenario: Option<PathBuf>,
    /// Print every run as JSON.
    #[arg(long)]
    json: bool,
}

fn events() -> PossibleValuesParser {
    PossibleValuesParser::new(EVENTS.iter().map(|event| event.name).chain([ALL]))
}

fn policies() -> PossibleValuesParser {
    PossibleValuesParser::new(POLICIES.iter().map(|(name, _)| *name).chain([CONFIGURED]))
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "write a number like 2.5".to_owned())?;
    let fits = (0.01..=1000.0).contains(&number);
    fits.then_some(number).ok_or_else(|| "write a number from 0.01 to 1000".to_owned())
}

/// What the operator's file adds: its settings, and its backends as regions.
struct Own {
    tuning: Tuning,
    regions: Vec<Region>,
}

pub(super) fn main(options: &Options) -> anyhow::Result<Exit> {
    let own = match &options.config {
        None => None,
        Some(path) => match crate::cli::load(path)? {
            None => return Ok(Exit::Problems),
            Some(checked) => Some(own(&checked.config, options)?),
        },
    };
    let Some(scenarios) = scenarios(options, own.as_ref())? else { return Ok(Exit::Problems) };
    let policies = chosen(options, own.as_ref())?;
    let seeds: Vec<u64> = (0..options.seeds).map(|n| options.seed.saturating_add(n)).collect();
    let mut all = Vec::new();
    for scenario in &scenarios {
        if !options.json {
            say(introduction(scenario, &seeds))?;
            for line in heading() {
                say(line)?;
            }
        }
        for policy in &policies {
            let summary = compare(scenario, policy, (&seeds, own.as_ref()))?;
            if options.json {
                all.push(summary);
            } else {
                say(row(&summary))?;
                say_more(scenario, &summary)?;
            }
        }
    }
    if options.json {
        say(serde_json::to_string_pretty(&serde_json::json!({ "results": all }))?)?;
    } else {
        say(explanation())?;
    }
    Ok(Exit::Done)
}

/// The lines below a row.
fn say_more(scenario: &Scenario, summary: &Summary) -> anyhow::Result<()> {
    let lines = [cached(summary), served(scenario, summary), hopeless(summary)];
    lines.into_iter().flatten().try_for_each(say)
}

/// A line more, where there are conversations.
fn cached(summary: &Summary) -> Option<String> {
    let share = summary.mean_of_most(|figures| figures.cached_share)?;
    Some(format!("{:<14} {:.0}% of the prompts were cached", "", share * 100.0))
}

/// A line more, where regions have quotas.
fn served(scenario: &Scenario, summary: &Summary) -> Option<String> {
    let good = summary.mean(|figures| figures.good_rps);
    let refused = summary.mean(|figures| figures.refused_share) * 100.0;
    let line = format!("{:<14} {good:.1} good responses/s, {refused:.1}% refused", "");
    scenario.has_limits().then_some(line)
}

/// A line more, where no region serves some of the requests.
fn hopeless(summary: &Summary) -> Option<String> {
    let count = summary.mean(|figures| f64::from(figures.hopeless));
    let line = format!("{:<14} {count:.0} failed that no region would have served", "");
    (count > 0.0).then_some(line)
}

/// All runs of one policy in one scenario.
fn compare(
    scenario: &Scenario,
    policy: &str,
    (seeds, own): (&[u64], Option<&Own>),
) -> anyhow::Result<Summary> {
    let fresh = |seed| -> Option<Box<dyn Balancer>> {
        match own {
            Some(own) if policy == CONFIGURED => {
                Some(Box::new(Engine::new(&own.tuning, scenario, seed)))
            }
            Some(_) | None => balancer(policy, scenario, seed),
        }
    };
    let one = |seed: &u64| {
        let mut balancer = fresh(*seed).context("no policy has this name")?;
        Ok(Figures::from(&run(scenario, *seed, balancer.as_mut())))
    };
    let runs = seeds.iter().map(one).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Summary { scenario: scenario.name.clone(), policy: policy.to_owned(), runs })
}

fn chosen(options: &Options, own: Option<&Own>) -> anyhow::Result<Vec<String>> {
    if options.policy.iter().any(|policy| policy == CONFIGURED) && own.is_none() {
        anyhow::bail!("`--policy {CONFIGURED}` is what a file says: write `--config FILE` too");
    }
    if !options.policy.is_empty() {
        return Ok(options.policy.clone());
    }
    let known = POLICIES.iter().map(|(name, _)| (*name).to_owned());
    Ok(known.chain(own.map(|_| CONFIGURED.to_owned())).collect())
}

/// The scenarios to run; `None`: a file has problems, which were told.
fn scenarios(options: &Options, own: Option<&Own>) -> anyhow::Result<Option<Vec<Scenario>>> {
    let Some(path) = &options.scenario else { return Ok(Some(built_in(options, own))) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the scenario {}", path.display()))?;
    let mut scenario = match crate::sim::read(&text) {
        Ok(scenario) => scenario,
        Err(problems) => {
            for problem in problems {
                eprintln!("{}:{problem}", path.display());
            }
            return Ok(None);
        }
    };
    let Some(own) = own else { return Ok(Some(vec![scenario])) };
    for region in &mut scenario.regions {
        let Some(backend) = own.regions.iter().find(|own| own.name == region.name) else {
            let known: Vec<_> = own.regions.iter().map(|own| own.name.as_str()).collect();
            let (name, known) = (&region.name, known.join(", "));
            eprintln!(
                "{}:1:1  regions.{name}: not a backend of the model; write regions of these: {known}",
                path.display()
            );
            return Ok(None);
        };
        (region.tier, region.weight) = (backend.tier, backend.weight);
    }
    Ok(Some(vec![scenario]))
}

fn built_in(options: &Options, own: Option<&Own>) -> Vec<Scenario> {
    let regions = usize::from(options.regions.unwrap_or(3));
    let names: Vec<&str> = own.map_or_else(
        || REGIONS.iter().copied().take(regions).collect(),
        |own| own.regions.iter().map(|region| region.name.as_str()).collect(),
    );
    let length = Duration::from_secs(60 * options.minutes.unwrap_or(90));
    let (rps, headroom) = (options.rps.unwrap_or(10.0), options.headroom.unwrap_or(2.0));
    let mut healthy = Scenario::healthy(&names, rps, headroom, length);
    for (region, own) in healthy.regions.iter_mut().zip(own.iter().flat_map(|own| &own.regions)) {
        (region.tier, region.weight) = (own.tier, own.weight);
    }
    let asked = |name: &str| options.event.iter().any(|event| event == name || event == ALL);
    let events = EVENTS.iter().filter(|event| asked(event.name));
    events.filter_map(|event| healthy.with_event(event.name)).collect()
}

fn own(config: &Config, options: &Options) -> anyhow::Result<Own> {
    let known = || config.models.keys().cloned().collect::<Vec<_>>().join(", ");
    let model = match &options.model {
        Some(name) => config.models.get(name),
        None if config.models.len() == 1 => config.models.values().next(),
        None => None,
    };
    let model = model.with_context(|| format!("write `--model` and one of: {}", known()))?;
    let region =
        |(number, (name, backend)): (usize, (&String, &crate::config::checked::Backend))| {
            let usual = Region::usual(name, (number, model.backends.len()), 0.0);
            Region { tier: backend.tier, weight: backend.weight, ..usual }
        };
    let backends = model.backends.keys().filter_map(|name| config.backends.get_key_value(name));
    Ok(Own { tuning: tuning(config, model), regions: backends.enumerate().map(region).collect() })
}

/// What the engine of a model runs with.
fn tuning(config: &Config, model: &Model) -> Tuning {
    let probe = &model.routing.probe;
    Tuning {
        settings: crate::live::settings(&model.routing),
        first_token: crate::live::first_token_limit(model),
        answer: crate::live::answer_limit(&config.timeouts),
        max_attempts: config.retry.max_attempts,
        retry_share: config.retry.budget_share,
        retry_min: config.retry.budget_min,
        rounds: (!probe.interval.is_zero()).then_some((probe.interval, probe.count)),
        probe_timeout: probe.timeout,
    }
}

fn introduction(scenario: &Scenario, seeds: &[u64]) -> String {
    let about = EVENTS.iter().find(|event| event.name == scenario.name).map_or("", |e| e.about);
    let (from, to) = scenario.window();
    let minutes = |time: Duration| time.as_secs_f64() / 60.0;
    let capacity: f64 = scenario.regions.iter().map(|region| region.capacity_rps).sum();
    format!(
        "{}{}{about}; minutes {:.0} to {:.0} of {:.0}\n{} regions for {:.1} requests/s, {} requests/s come; seeds {}",
        scenario.name,
        if about.is_empty() { "" } else { ": " },
        minutes(from),
        minutes(to),
        minutes(scenario.length),
        scenario.regions.len(),
        capacity,
        scenario.arrivals.rps,
        match seeds {
            [first, .., last] => format!("{first} to {last}"),
            [only] => only.to_string(),
            [] => String::new(),
        }
    )
}

const fn explanation() -> &'static str {
    "\nMeans over the seeds. slow: over 4 (2) times the healthy median for the prompt, and first token, for\n\
     requests that came in those minutes (for the whole response, where it is not streamed); errors, false\n\
     exclusions and extra (hedges, retries, probes) in the whole run. off, back: how long after its beginning\n\
     and end the bad region lost and had its traffic.\n\
     The world is synthetic: lognormal times, a fluid queue. Compare the rows, not the seconds."
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults of the configuration and those of the simulator are written twice: here they are one.
    #[test]
    fn a_file_that_names_only_a_policy_is_simulated_as_the_policy_of_that_name() {
        let of = |policy: &str| {
            let minimal = include_str!("../../conf/minimal.yaml");
            let config = crate::config::check(&format!("{minimal}{policy}")).unwrap().config;
            tuning(&config, &config.models["gpt-4o"])
        };
        assert_eq!(of(""), Tuning::lookout());
        assert_eq!(of("routing: { policy: lookout }"), Tuning::lookout());
        assert_eq!(of("routing: { policy: ema }"), Tuning::ema());
    }
}
