//! The demo: Firstlight beside plain round robin while a region goes bad in silence.
//!
//! Two complete proxies run in this process, each in front of three mock regions of its own ([`world`]).
//! Clients send the same requests at the same moments to both ([`traffic`]). By [`scenario`] one region
//! becomes ten times slower and heals; [`watch`] and [`tally`] note what each proxy did and what its clients
//! felt; [`report`] says whether that is what Firstlight claims. [`frame`] and [`table`] draw it.
//!
//! The demo decides nothing about routing: what is seen is the product with `conf/demo.yaml`.

pub mod frame;
pub mod hints;
pub mod report;
pub mod scenario;
mod screen;
pub mod table;
pub mod tally;
mod traffic;
pub mod watch;
pub mod world;

use crate::clock::Clock;
use crate::demo::frame::Palette;
use crate::demo::frame::Picture;
use crate::demo::frame::RegionLine;
use crate::demo::frame::SideView;
use crate::demo::hints::Addresses;
use crate::demo::report::Figures;
use crate::demo::report::Report;
use crate::demo::scenario::Phase;
use crate::demo::scenario::Timeline;
use crate::demo::screen::Screen;
use crate::demo::traffic::Clients;
use crate::demo::world::Policy;
use crate::demo::world::Side;
use crate::mock::MockError;
use crate::server::StartError;
use crate::time::Time;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

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

/// How often the proxies are looked at: the precision of the times in the report.
const LOOK: Duration = Duration::from_millis(20);
/// How often a terminal is drawn.
const DRAW: Duration = Duration::from_millis(250);
/// How often a log gets a line.
const LOG: Duration = Duration::from_secs(5);
/// Answers a second are counted over so many seconds.
const RECENT: Duration = Duration::from_secs(2);

/// The demo while it runs.
struct Stage {
    plan: Plan,
    timeline: Timeline,
    clock: Clock,
    firstlight: Arc<Side>,
    round_robin: Arc<Side>,
}

impl Stage {
    async fn set(plan: Plan) -> Result<Self, DemoError> {
        let timeline = Timeline::new(Duration::from_secs(plan.seconds));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let firstlight = Side::start(Policy::Firstlight, plan.listen, timeline).await?;
        let round_robin = Side::start(Policy::RoundRobin, any, timeline).await?;
        let (firstlight, round_robin) = (Arc::new(firstlight), Arc::new(round_robin));
        Ok(Self { plan, timeline, clock: Clock::start(), firstlight, round_robin })
    }

    fn sides(&self) -> [&Arc<Side>; 2] {
        [&self.firstlight, &self.round_robin]
    }

    /// Tells the story once.
    async fn play(&self, screen: &mut Screen) -> Result<(), DemoError> {
        if self.plan.audience != Audience::Program {
            screen.print(&self.opening())?;
        }
        let clients = Clients::new(self.sides().map(Arc::clone), self.clock)?;
        let told = async {
            tokio::join!(clients.send(self.plan.rate, self.timeline.length()), self.steer()).1
        };
        let ended = tokio::select! {
            ended = told => ended,
            Err(failed) = self.show(screen) => Err(failed),
        };
        if let Audience::Terminal(_) = self.plan.audience {
            self.draw(screen)?;
        }
        ended
    }

    fn opening(&self) -> Vec<String> {
        let Plan { seconds, rate, listen, audience: _ } = self.plan;
        let mut lines = vec![format!(
            "firstlight demo: {rate} requests/s for {seconds} s to each of two proxies, same regions"
        )];
        let taken = self.firstlight.address();
        if taken != listen && listen.port() != 0 {
            lines.push(format!("{listen} is taken; Firstlight listens on {taken}"));
        }
        lines.push(String::new());
        lines
    }

    /// Makes the region bad and good again when its time has come, and looks at both proxies all the while.
    async fn steer(&self) -> Result<(), DemoError> {
        let mut phase = Phase::Healthy;
        loop {
            let now = self.clock.now();
            let due = self.timeline.phase(now);
            if due != phase {
                self.sides().into_iter().try_for_each(|side| side.enter(due))?;
                phase = due;
            }
            self.sides().into_iter().for_each(|side| side.observe(phase, now));
            if now.since(Time::ZERO) >= self.timeline.length() {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    /// Shows it as it happens; only a broken output ends that.
    async fn show(&self, screen: &mut Screen) -> Result<(), DemoError> {
        let pause = match self.plan.audience {
            Audience::Terminal(_) => DRAW,
            Audience::Log => LOG,
            Audience::Program => self.timeline.length(),
        };
        loop {
            sleep(pause).await;
            self.draw(screen)?;
        }
    }

    fn draw(&self, screen: &mut Screen) -> Result<(), DemoError> {
        let picture = self.picture();
        match self.plan.audience {
            Audience::Terminal(palette) => {
                screen.draw(&frame::frame(&picture, self.timeline, palette))?;
            }
            Audience::Log => screen.print(&[frame::line(&picture, self.timeline)])?,
            Audience::Program => {}
        }
        Ok(())
    }

    fn picture(&self) -> Picture {
        let at = self.clock.now();
        let slow_scale = self.timeline.third_of_bad_time(self.plan.rate);
        Picture { at, sides: self.sides().map(|side| view(side, at)), slow_scale }
    }

    fn report(&self) -> Report {
        let figures = |side: &Side| Figures::of(&side.tally.lock(), &side.watch.lock());
        let (firstlight, round_robin) = (figures(&self.firstlight), figures(&self.round_robin));
        Report::new(self.plan.seconds, self.plan.rate, firstlight, round_robin)
    }

    fn addresses(&self) -> Addresses {
        let side = &self.firstlight;
        let (admin, control) = (side.proxy.admin_address(), side.mock.control_address());
        Addresses { proxy: side.address(), admin, control }
    }
}

fn view(side: &Side, at: Time) -> SideView {
    let since = Time::at(at.since(Time::at(RECENT)));
    let tally = side.tally.lock();
    let regions = scenario::REGIONS.map(|(name, _)| RegionLine {
        name,
        view: side.region(name),
        per_second: tally::float(tally.answers_since(name, since)) / RECENT.as_secs_f64(),
    });
    let (requests, slow) = (tally.requests(), tally.slow());
    SideView { policy: side.policy, regions: regions.to_vec(), requests, slow }
}
