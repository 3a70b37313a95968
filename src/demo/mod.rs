//! The demo: Firstlight beside plain round robin while a region goes bad in silence.
//!
//! Two complete proxies run in this process, each in front of three mock regions of its own ([`world`]).
//! Clients send the same requests at the same moments to both ([`traffic`]). By [`scenario`] one region
//! becomes ten times slower and heals; [`watch`] and [`tally`] note what each proxy did and what its clients
//! felt; [`report`] says whether that is what Firstlight claims. [`frame`] and [`table`] draw it. `stage` lets
//! all of this happen at once.
//!
//! The demo decides nothing about routing: what is seen is the product with `conf/demo.yaml`.

pub mod frame;
pub mod hints;
pub mod report;
pub mod scenario;
mod screen;
mod stage;
pub mod table;
pub mod tally;
mod traffic;
pub mod watch;
pub mod world;

use crate::demo::frame::Palette;
use crate::demo::report::Report;
use crate::demo::screen::Screen;
use crate::demo::stage::Stage;
use crate::mock::MockError;
use crate::server::StartError;
use std::io;
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};

/// What is to be shown, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long requests are sent.
    pub seconds: u64,
    /// Requests a second to each proxy.
    pub rate: u32,
    /// Where Firstlight listens, if that is free.
    pub listen: SocketAddr,
    /// For whom.
    pub audience: Audience,
}

/// Who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Someone at a terminal, who may want to try it afterwards.
    Terminal(Palette),
    /// A log: a line now and then, and the table.
    Log,
    /// A program: the report as JSON and nothing else.
    Program,
}

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The claim held.
    Held,
    /// It did not.
    Failed,
    /// It was stopped before anything could be said.
    Interrupted,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// `conf/demo.yaml` lacks something that the demo puts its own value for.
    #[error("conf/demo.yaml has no {0:?} to put the demo's own value for")]
    Placeholder(&'static str),
    /// The configuration with the demo's values in it has problems.
    #[error("the demo's configuration: {0}")]
    Configuration(String),
    /// A mock region did not start.
    #[error("a mock region did not start: {0}")]
    Mock(#[source] io::Error),
    /// A fault could not be switched.
    #[error(transparent)]
    Fault(#[from] MockError),
    /// A proxy did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The client could not be built.
    #[error("the demo's client could not be built")]
    Client(#[source] reqwest::Error),
    /// The output, or a signal handler, failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the demo on the present runtime. At a terminal it then serves until Ctrl-C.
pub async fn run(plan: Plan) -> Result<Ending, DemoError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stopped);
    let stage = Stage::set(plan).await?;
    let mut screen = Screen::new();
    tokio::select! {
        played = Box::pin(stage.play(&mut screen)) => played?,
        () = &mut stopped => {
            screen.print(&["stopped before the end: nothing can be said".to_owned()])?;
            return Ok(Ending::Interrupted);
        }
    }
    let report = stage.report();
    screen.print(&told(&report, plan.audience)?)?;
    if matches!(plan.audience, Audience::Terminal(_)) {
        screen.print(&hints::hints(stage.addresses()))?;
        stopped.await;
    }
    Ok(if report.claim.held { Ending::Held } else { Ending::Failed })
}

fn told(report: &Report, audience: Audience) -> Result<Vec<String>, DemoError> {
    Ok(match audience {
        Audience::Program => vec![serde_json::to_string_pretty(report).map_err(io::Error::from)?],
        Audience::Terminal(_) | Audience::Log => {
            let mut lines = vec![String::new()];
            lines.extend(table::table(report));
            lines
        }
    })
}
