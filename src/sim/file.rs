//! A scenario from a YAML file: what `simulate --scenario` reads. Every key may be left out.
//!
//! `conf/scenario.yaml` is an example with every key.

use crate::config::{Fields, Problem, read_fields};
use crate::sim::duration;
use crate::sim::fault::{Fault, Kind, Where};
use crate::sim::scenario::{
    Arrivals, Burst, Cached, Conversations, Freedom, Outputs, Prompts, RateLimit, Region, Scenario,
    Tail, Wander, capacity_rps,
};
use std::time::Duration;

/// The regions of a file that names none.
const USUAL_REGIONS: [&str; 3] = ["eastus2", "swedencentral", "westus3"];
const TOP: &[&str] = &[
    "name",
    "minutes",
    "decode_seconds",
    "patience_seconds",
    "headroom",
    "prompts",
    "outputs",
    "not_streamed",
    "bound",
    "once",
    "apps",
    "conversations",
    "arrivals",
    "regions",
    "faults",
];
const REGION: &[&str] = &[
    "median_ms",
    "sigma",
    "tail",
    "cached",
    "wander",
    "capacity_rps",
    "token_limit",
    "request_limit",
    "tier",
    "weight",
];
const SHARE: std::ops::RangeInclusive<f64> = 0.0..=1.0;
const MINUTES: std::ops::RangeInclusive<f64> = 0.0..=1440.0;
const RPS: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// Reads the text of a scenario file; every problem at once, sorted by place.
pub fn read(text: &str) -> Result<Scenario, Vec<Problem>> {
    read_fields(text, TOP, scenario)
}

fn scenario(file: &Fields<'_>) -> Scenario {
    let name = file.has("name").then(|| file.text("name", "a name of your choice")).flatten();
    let prompts = file.inner("prompts", &["median_tokens", "sigma"]);
    let Prompts { median_tokens, sigma } = Prompts::USUAL;
    let arrivals = arrivals(file);
    let regions = regions(file, arrivals.rps);
    let names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
    let faults = faults(file, &names);
    Scenario {
        name: name.unwrap_or("scenario").to_owned(),
        length: minutes(file.real("minutes", 1.0..=1440.0, 90.0)),
        arrivals,
        prompts: prompts.map_or(Prompts::USUAL, |prompts| Prompts {
            median_tokens: prompts.real("median_tokens", 1.0..=1_000_000.0, median_tokens),
            sigma: prompts.real("sigma", 0.0..=3.0, sigma),
        }),
        outputs: outputs(file),
        not_streamed: file.real("not_streamed", SHARE, 0.0),
        freedom: Freedom {
            bound: file.real("bound", SHARE, 0.0),
            once: file.real("once", SHARE, 0.0),
        },
        apps: whole(file.real("apps", 1.0..=1000.0, 10.0)),
        conversations: conversations(file),
        decode: duration(file.real("decode_seconds", 0.0..=600.0, 6.0)),
        patience: duration(file.real("patience_seconds", 1.0..=3600.0, 60.0)),
        regions,
        faults,
    }
}

fn outputs(file: &Fields<'_>) -> Outputs {
    let usual = Outputs::USUAL;
    let keys = &["median_tokens", "sigma", "tokens_per_second"];
    file.inner("outputs", keys).map_or(usual, |outputs| Outputs {
        median_tokens: outputs.real("median_tokens", 1.0..=100_000.0, usual.median_tokens),
        sigma: outputs.real("sigma", 0.0..=3.0, usual.sigma),
        tokens_per_second: outputs.real(
            "tokens_per_second",
            0.1..=10_000.0,
            usual.tokens_per_second,
        ),
    })
}

/// A whole number that a range has bounded.
fn whole(number: f64) -> u32 {
    u32::try_from(duration(number).as_secs()).unwrap_or(1)
}

fn conversations(file: &Fields<'_>) -> Option<Conversations> {
    let section = file.inner("conversations", &["count", "remembered_seconds", "factor"])?;
    Some(Conversations {
        count: whole(section.required("count", 1.0..=1_000_000.0)),
        remembered: duration(section.real("remembered_seconds", 0.0..=86_400.0, 420.0)),
        factor: section.real("factor", 0.01..=1.0, 0.5),
    })
}

fn minutes(minutes: f64) -> Duration {
    duration(minutes * 60.0)
}

fn arrivals(file: &Fields<'_>) -> Arrivals {
    let Some(section) = file.inner("arrivals", &["rps", "steps", "burst"]) else {
        return Arrivals::even(10.0);
    };
    let step = |step: &Fields<'_>| {
        (minutes(step.required("minute", MINUTES)), step.required("rps", 0.0..=1000.0))
    };
    let mut steps: Vec<_> = section.items("steps", &["minute", "rps"]).iter().map(step).collect();
    steps.sort_by_key(|(from, _)| *from);
    let burst = section.inner("burst", &["factor", "share", "seconds"]).map(|burst| {
        let share = burst.required("share", 0.01..=0.99);
        let factor = burst.required("factor", 1.0..=100.0);
        if factor * share > 1.0 {
            let most = format!("write at most {}, which is 1 / share", 1.0 / share);
            burst.refuse("factor", "the rushes alone are more than all there is", &most);
        }
        Burst { factor, share, length: duration(burst.real("seconds", 1.0..=3600.0, 30.0)) }
    });
    Arrivals { rps: section.real("rps", RPS, 10.0), steps, burst }
}

fn regions(file: &Fields<'_>, rps: f64) -> Vec<Region> {
    let headroom = file.real("headroom", 0.1..=1000.0, 2.0);
    let written = file.named("regions", REGION);
    let of = if file.has("regions") { written.len() } else { USUAL_REGIONS.len() };
    let capacity = capacity_rps(headroom, rps, of);
    if !file.has("regions") {
        let usual = USUAL_REGIONS.iter().enumerate();
        return usual.map(|(n, name)| Region::usual(name, (n, of), capacity)).collect();
    }
    let one = |(number, (name, fields)): (usize, &(&str, Fields<'_>))| {
        region(fields, Region::usual(name, (number, of), capacity))
    };
    written.iter().enumerate().map(one).collect()
}

/// `usual` with what is written about it.
fn region(fields: &Fields<'_>, usual: Region) -> Region {
    let median_ms = usual.median.as_secs_f64() * 1000.0;
    let tail = fields.inner("tail", &["share", "least", "most"]).map(|tail| Tail {
        share: tail.required("share", SHARE),
        least: tail.real("least", 1.0..=1000.0, usual.tail.least),
        most: tail.real("most", 1.0..=1000.0, usual.tail.most),
    });
    let cached = fields.inner("cached", &["share", "factor"]).map(|cached| Cached {
        share: cached.required("share", SHARE),
        factor: cached.required("factor", 0.01..=1.0),
    });
    let wander = fields.inner("wander", &["sigma", "minutes"]).map(|wander| Wander {
        sigma: wander.required("sigma", 0.0..=3.0),
        memory: minutes(wander.real("minutes", 0.1..=1440.0, 10.0)),
    });
    Region {
        tier: whole(fields.real("tier", 0.0..=100.0, 1.0)),
        weight: whole(fields.real("weight", 1.0..=1000.0, 1.0)),
        median: duration(fields.real("median_ms", 1.0..=600_000.0, median_ms) / 1000.0),
        sigma: fields.real("sigma", 0.0..=3.0, usual.sigma),
        tail: tail.unwrap_or(usual.tail),
        cached,
        wander,
        capacity_rps: fields.real("capacity_rps", 0.0..=100_000.0, usual.capacity_rps),
        token_limit: token_limit(fields),
        request_limit: request_limit(fields),
        name: usual.name,
    }
}

/// Tokens a minute; a tenth of them at once, if nothing else is written.
fn token_limit(fields: &Fields<'_>) -> Option<RateLimit> {
    let keys = &["per_minute", "burst", "retry_after_seconds"];
    let limit = fields.inner("token_limit", keys)?;
    let per_minute = limit.required("per_minute", 1.0..=1e9);
    Some(RateLimit {
        per_second: per_minute / 60.0,
        burst: limit.real("burst", 1.0..=1e9, per_minute / 10.0),
        retry_after: retry_after(&limit),
    })
}

/// Requests a second; those of one second at once, if nothing else is written.
fn request_limit(fields: &Fields<'_>) -> Option<RateLimit> {
    let keys = &["per_second", "burst", "retry_after_seconds"];
    let limit = fields.inner("request_limit", keys)?;
    let per_second = limit.required("per_second", 0.01..=1e6);
    let burst = limit.real("burst", 1.0..=1e6, per_second.max(1.0));
    Some(RateLimit { per_second, burst, retry_after: retry_after(&limit) })
}

fn retry_after(fields: &Fields<'_>) -> Option<Duration> {
    let key = "retry_after_seconds";
    fields.has(key).then(|| duration(fields.required(key, 0.0..=86_400.0)))
}

const KINDS: &[&str] = &[
    "slow", "drift", "flapping", "silent", "errors", "refuse", "reset", "reject", "unusable",
    "limited", "poison", "oversize", "capacity",
];
/// The keys that a kind has beside those of every fault.
const KEYS_OF: &[(&str, &[&str])] = &[
    ("factor", &["slow", "drift", "flapping"]),
    (
        "share",
        &[
            "slow", "silent", "errors", "refuse", "reset", "reject", "unusable", "limited",
            "poison", "oversize",
        ],
    ),
    ("status", &["reject"]),
    ("max_tokens", &["oversize"]),
    ("repeatable", &["poison"]),
    ("seconds", &["flapping"]),
    ("retry_after_seconds", &["limited"]),
    ("left", &["capacity"]),
];
const FAULT: &[&str] = &[
    "region",
    "kind",
    "from_minute",
    "to_minute",
    "factor",
    "share",
    "seconds",
    "status",
    "max_tokens",
    "repeatable",
    "retry_after_seconds",
    "left",
];

fn faults(file: &Fields<'_>, regions: &[&str]) -> Vec<Fault> {
    file.items("faults", FAULT).iter().filter_map(|fields| fault(fields, regions)).collect()
}

fn fault(fields: &Fields<'_>, regions: &[&str]) -> Option<Fault> {
    let groups = ["any", "all", "all_but_one"];
    let places: Vec<&str> = regions.iter().copied().chain(groups).collect();
    let place = fields.words("region", &places).map(|words| match *words {
        ["any"] => Where::BySeed,
        ["all"] => Where::Everywhere,
        ["all_but_one"] => Where::AllButOne,
        ref names => {
            if names.iter().any(|name| groups.contains(name)) {
                fields.refuse("region", "not only names", "write names, or one of the words alone");
            }
            Where::Named(names.iter().map(|name| (*name).to_owned()).collect())
        }
    });
    let from = fields.required("from_minute", MINUTES);
    let to = fields.required("to_minute", MINUTES);
    if to <= from && fields.has("to_minute") && fields.has("from_minute") {
        fields.refuse("to_minute", "not after `from_minute`", "write a later minute");
    }
    let word = fields.word("kind", KINDS)?;
    for (key, kinds) in
        KEYS_OF.iter().filter(|(key, kinds)| fields.has(key) && !kinds.contains(&word))
    {
        let instead = format!("leave it out; it belongs to {}", kinds.join(", "));
        fields.refuse(key, &format!("`{word}` has no `{key}`"), &instead);
    }
    let kind = kind(fields, word);
    Some(Fault { place: place?, kind, from: minutes(from), to: minutes(to) })
}

fn kind(fields: &Fields<'_>, word: &str) -> Kind {
    let factor = || fields.required("factor", 0.01..=1000.0);
    let share = || fields.real("share", SHARE, 1.0);
    match word {
        "drift" => Kind::Drift { factor: factor() },
        "flapping" => {
            Kind::Flapping { factor: factor(), seconds: fields.required("seconds", 1.0..=3600.0) }
        }
        "silent" => Kind::Silent { share: share() },
        "errors" => Kind::Errors { share: share() },
        "refuse" => Kind::Refuse { share: share() },
        "reset" => Kind::Reset { share: share() },
        "reject" => Kind::Reject { share: share(), status: status(fields) },
        "unusable" => Kind::Unusable { share: share() },
        "limited" => Kind::Limited { share: share(), retry_after: retry_after(fields) },
        "poison" => Kind::Poison { share: share(), repeatable: flag(fields, "repeatable", true) },
        "oversize" => Kind::Oversize {
            share: share(),
            max_tokens: fields.required("max_tokens", 1.0..=1_000_000.0),
        },
        "capacity" => Kind::Capacity { left: fields.required("left", SHARE) },
        // `slow`; anything else was refused.
        _ => Kind::Slow { factor: factor(), share: share() },
    }
}

/// True or false, or the default if it is not written.
#[expect(clippy::fn_params_excessive_bools, reason = "the default of a flag is one")]
fn flag(fields: &Fields<'_>, key: &str, default: bool) -> bool {
    if !fields.has(key) {
        return default;
    }
    fields.word(key, &["true", "false"]).is_none_or(|word| word == "true")
}

/// Not 401, 403, 408, 409, 429 and 499: a proxy does not pass those on.
fn status(fields: &Fields<'_>) -> u16 {
    let status = u16::try_from(duration(fields.real("status", 400.0..=498.0, 400.0)).as_secs());
    let status = status.unwrap_or(400);
    if matches!(status, 401 | 403 | 408 | 409 | 429) {
        fields.refuse("status", "not a client's mistake", "write 400, 404, 410, 413 or 422");
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, says: &[&str]) {
        let problems: Vec<String> =
            read(text).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), says.len(), "{problems:#?}");
        for (problem, says) in problems.iter().zip(says) {
            assert!(problem.starts_with(says), "{problem}\nnot\n{says}");
        }
    }

    #[test]
    fn the_example_can_be_read() {
        let scenario = read(include_str!("../../conf/scenario.yaml")).unwrap();
        assert_eq!((scenario.regions.len(), scenario.faults.len()), (3, 14));
        let written = scenario.faults.iter().filter_map(|fault| match &fault.place {
            Where::Named(names) => Some(names.len()),
            Where::BySeed | Where::Everywhere | Where::AllButOne | Where::Next(_) => None,
        });
        assert_eq!(written.collect::<Vec<_>>(), [1, 2]);
        assert!(scenario.has_limits());
        assert_eq!(scenario.regions[2].weight, 2);
        assert_eq!(scenario.regions[1].median, Duration::from_millis(1400));
        assert_eq!(scenario.arrivals.steps, [(Duration::from_mins(40), 12.0)]);
    }

    #[test]
    fn an_empty_file_is_the_usual_world() {
        let usual = Scenario::healthy(&USUAL_REGIONS, 10.0, 2.0, Duration::from_mins(90));
        assert_eq!(read("{}").unwrap(), Scenario { name: "scenario".to_owned(), ..usual });
    }

    #[test]
    fn every_problem_is_told_with_its_place() {
        check(
            "minute: 3\narrivals: { rps: lots }\nregions:\n  a: { sigma: -1 }\nfaults:\n\
             - { region: b, kind: slow, factor: 2, from_minute: 1, to_minute: 1 }\n\
             - { region: a, kind: drift, share: 1, from_minute: 1, to_minute: 2 }\n",
            &[
                "1:1  minute: unknown key; did you mean `minutes`?",
                "2:18  arrivals.rps: text, not a number; write a number from 0.01 to 1000",
                "4:15  regions.a.sigma: out of range; write a number from 0 to 3",
                "6:13  faults[0].region: `b` is not known here; write one of `a`, `any`, `all`, `all_but_one`",
                "6:66  faults[0].to_minute: not after `from_minute`; write a later minute",
                "7:3  faults[1]: `factor` is missing; write `factor: ` and a number",
                "7:36  faults[1].share: `drift` has no `share`; leave it out",
            ],
        );
    }

    #[test]
    fn lists_of_regions_and_statuses_are_checked() {
        check(
            "regions: { a: {}, b: {} }\nfaults:\n\
             - { region: [ a, c ], kind: refuse, from_minute: 1, to_minute: 2 }\n\
             - { region: [ a, any ], kind: reset, from_minute: 1, to_minute: 2 }\n\
             - { region: b, kind: reject, status: 429, from_minute: 1, to_minute: 2 }\n\
             - { region: b, kind: oversize, from_minute: 1, to_minute: 2 }\n",
            &[
                "3:18  faults[0].region[1]: `c` is not known here",
                "4:13  faults[1].region: not only names; write names, or one of the words alone",
                "5:38  faults[2].status: not a client's mistake",
                "6:3  faults[3]: `max_tokens` is missing",
            ],
        );
    }
}
