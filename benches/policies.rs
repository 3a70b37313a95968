//! Scratch
use firstlight::sim::*;
use std::time::Duration;
fn main() {
    let n: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(20);
    let names = ["a", "b", "c"];
    for (rps, head) in [(1.0, 30.0), (10.0, 30.0), (10.0, 2.0)] {
        for ev in std::env::args().nth(2).unwrap_or("slow10".into()).split(',') {
            let s = Scenario::healthy(&names, rps, head, Duration::from_mins(90))
                .with_event(ev)
                .unwrap();
            println!("== {ev} rps {rps} headroom {head}");
            for h in heading() {
                println!("{h}");
            }
            for (p, _) in POLICIES {
                let runs = (1..=n)
                    .map(|k| {
                        k + std::env::args().nth(3).and_then(|s| s.parse::<u64>().ok()).unwrap_or(0)
                    })
                    .map(|seed| {
                        let mut b = balancer(p, &s, seed).unwrap();
                        Figures::from(&run(&s, seed, b.as_mut()))
                    })
                    .collect();
                println!(
                    "{}",
                    row(&Summary { scenario: s.name.clone(), policy: (*p).to_owned(), runs })
                );
            }
        }
    }
}
