//! The demo while it runs: both sides, the clients, the one who makes the region bad, and the one who shows it.
//!
//! They run at the same time on one task, with a clock that starts when the stage is set. What each notes goes
//! to the side that it concerns.

use crate::clock::Clock;
use crate::demo::Audience;
use crate::demo::DemoError;
use crate::demo::Plan;
use crate::demo::frame;
use crate::demo::frame::Picture;
use crate::demo::frame::RegionLine;
use crate::demo::frame::SideView;
use crate::demo::hints::Addresses;
use crate::demo::report::Figures;
use crate::demo::report::Report;
use crate::demo::scenario;
use crate::demo::scenario::Phase;
use crate::demo::scenario::Timeline;
use crate::demo::screen::Screen;
use crate::demo::tally;
use crate::demo::traffic::Clients;
use crate::demo::world::Policy;
use crate::demo::world::Side;
use crate::time::Time;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often the proxies are looked at: the precision of the times in the report.
const LOOK: Duration = Duration::from_millis(20);
/// How often a terminal is drawn.
const DRAW: Duration = Duration::from_millis(250);
/// How often a log gets a line.
const LOG: Duration = Duration::from_secs(5);
/// Answers a second are counted over so many seconds.
const RECENT: Duration = Duration::from_secs(2);

/// The demo while it runs.
pub(super) struct Stage {
    plan: Plan,
    timeline: Timeline,
    clock: Clock,
    firstlight: Arc<Side>,
    round_robin: Arc<Side>,
}

impl Stage {
    /// Starts both sides.
    pub(super) async fn set(plan: Plan) -> Result<Self, DemoError> {
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
    pub(super) async fn play(&self, screen: &mut Screen) -> Result<(), DemoError> {
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
            "firstlight demo: {rate} requests/s for {seconds} s through each of two proxies to mock regions"
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

    /// What came of it.
    pub(super) fn report(&self) -> Report {
        let figures = |side: &Side| Figures::of(&side.tally.lock(), &side.watch.lock());
        let (firstlight, round_robin) = (figures(&self.firstlight), figures(&self.round_robin));
        Report::new(self.plan.seconds, self.plan.rate, firstlight, round_robin)
    }

    /// Where it can be reached.
    pub(super) fn addresses(&self) -> Addresses {
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
