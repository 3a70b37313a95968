//! A look at everything that a configuration points at, before it serves: `firstlight check --live`.
//!
//! Each backend's name is looked up and connected to, each identity's token and each tenant's signing keys are
//! fetched, and each target is asked what a probe asks. The parts that do so are those of a process that serves.
//! Nothing is listened on and nothing is kept: the state directory is switched off.
//!
//! No more than [`AT_ONCE`] backends or targets are looked at at a time, and each step of each has its bound.

mod look;
mod report;
mod words;

pub use look::Look;
pub use report::{Report, TargetRow, TenantRow};

use crate::clock::Clock;
use crate::config::checked::{BackendAuth, Config, Place, ProbeKind};
use crate::endpoints::look_up;
use crate::exchange::{Failure, Marks, Outcome, exchange};
use crate::identity::Refresher;
use crate::jwks::KeyFetcher;
use crate::live::{BuildError, Live, LiveBackend, LiveModel, Snapshot, Tenant};
use crate::probing::{Asked, TokenLimit, prompt};
use crate::secrets;
use crate::telemetry::Telemetry;
use futures_util::StreamExt;
use futures_util::stream::iter;
use pingora_core::connectors::http::Connector as HttpConnector;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use words::Proof;

/// How long each step may take: a look-up, a connect, a token, the keys of a tenant, an answer.
pub const STEP: Duration = Duration::from_secs(15);
/// So many backends or targets are looked at at once.
const AT_ONCE: usize = 16;

/// The one who looks.
pub struct Preflight {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    http: HttpConnector,
    step: Duration,
}

/// What was found on the way to a backend, before anything is asked there.
struct Way {
    dns: Look,
    tls: Look,
    credential: Look,
}

impl Preflight {
    /// For a checked configuration, with a bound on each step ([`STEP`]). Reads what it points at: keys,
    /// certificates, authorities. The machine must have certificate authorities.
    pub fn new(
        mut config: Config,
        telemetry: Arc<Telemetry>,
        step: Duration,
    ) -> Result<Self, BuildError> {
        config.state_directory = Place::Off;
        // To know that it answers, one token is enough.
        for model in config.models.values_mut() {
            model.routing.probe.max_tokens = 1;
        }
        let live = Arc::new(Live::new(config, Clock::start())?);
        Ok(Self { live, telemetry, http: HttpConnector::new(None), step })
    }

    /// Looks at everything once.
    pub async fn run(&self) -> Report {
        let snapshot = self.live.snapshot();
        let refresher = Refresher::new(Arc::clone(&self.live), Arc::clone(&self.telemetry));
        let keys = KeyFetcher::new(Arc::clone(&self.live), Arc::clone(&self.telemetry));
        // What is missing is seen in the snapshot afterwards.
        let (reached, _, _) = tokio::join!(
            in_turn(snapshot.backends(), |backend| self.reach(backend)),
            refresher.fetch_missing(&snapshot, self.step),
            keys.fill(&snapshot, self.step)
        );
        let ways = snapshot.backends().zip(reached).map(|(backend, (dns, tls))| {
            let credential = self.credential(backend);
            (&*backend.name, Way { dns, tls, credential })
        });
        let ways: BTreeMap<&str, Way> = ways.collect();
        let all = targets(&snapshot);
        let asked = in_turn(&all, |(model, target)| self.row(model, *target, &ways));
        let mut targets: Vec<TargetRow> = asked.await.into_iter().flatten().collect();
        let unused =
            ways.iter().filter(|(name, _)| targets.iter().all(|row| row.backend != **name));
        let unused: Vec<_> = unused.map(|(name, way)| way.row(name, words::unused())).collect();
        targets.extend(unused);
        let tenants = snapshot.tenants.iter().map(|tenant| tenant_row(tenant)).collect();
        Report { targets, tenants }
    }

    /// Finds a backend's addresses, and connects to the one that a request would go to.
    async fn reach(&self, backend: &LiveBackend) -> (Look, Look) {
        let (host, _) = &backend.authority;
        let dns = if host.parse::<IpAddr>().is_ok() {
            Look::good("address")
        } else {
            match timeout(self.step, look_up(backend)).await {
                Ok(Ok(addresses)) => {
                    let dns = words::found(addresses.len());
                    backend.publish(addresses);
                    dns
                }
                Ok(Err(_)) => words::not_found(host),
                Err(_) => words::no_resolver(host),
            }
        };
        let Some(peer) = backend.peer() else { return (dns, Look::skipped("-")) };
        let begun = self.live.clock().now();
        let connected = timeout(self.step, self.http.get_http_session(&peer)).await;
        let took = self.live.clock().now().since(begun);
        let tls = match connected {
            Ok(Ok(_)) => words::connected(took, backend),
            Ok(Err(error)) => words::not_connected(&error, backend),
            Err(_) => words::connect_timed_out(backend),
        };
        (dns, tls)
    }

    /// What would prove us to a backend, after tokens were fetched.
    fn credential(&self, backend: &LiveBackend) -> Look {
        match (self.proof(backend), backend.token()) {
            (Proof::Token(identity), Some(slot)) if !slot.is_usable(self.live.clock().unix()) => {
                words::no_token(&identity, slot.course().error)
            }
            (Proof::Token(_), _) => Look::good("token"),
            (Proof::Key(_), _) => Look::good("key"),
            (Proof::Nothing, _) => Look::good("none"),
        }
    }

    fn proof(&self, backend: &LiveBackend) -> Proof {
        let snapshot = self.live.snapshot();
        match snapshot.config.backends.get(&*backend.name).map(|settings| &settings.auth) {
            Some(BackendAuth::ApiKey(source)) => Proof::Key(secrets::name(source)),
            Some(BackendAuth::Identity(_)) => {
                Proof::Token(backend.token().map_or_else(String::new, |s| s.name().to_owned()))
            }
            Some(BackendAuth::None) | None => Proof::Nothing,
        }
    }

    /// The line of a target.
    async fn row(
        &self,
        model: &LiveModel,
        target: usize,
        ways: &BTreeMap<&str, Way>,
    ) -> Option<TargetRow> {
        let backend = model.backends.get(target)?;
        let way = ways.get(&*backend.name)?;
        let deployment = model.pool.spec(target)?.deployment.clone();
        let named = |row: TargetRow| TargetRow {
            model: Some(model.name.to_string()),
            deployment: Some(deployment.clone()),
            ..row
        };
        if model.probe == ProbeKind::Off {
            return Some(named(way.row(&backend.name, words::not_asked(&model.name))));
        }
        if !way.is_open() {
            return Some(named(way.row(&backend.name, Look::skipped("-"))));
        }
        let mut asked = self.ask(model, target, TokenLimit::Tokens).await;
        if asked.as_ref().is_some_and(|asked| asked.refused_max_tokens) {
            asked = self.ask(model, target, TokenLimit::CompletionTokens).await;
        }
        let Some(asked) = asked else {
            return Some(named(way.row(&backend.name, words::not_sent())));
        };
        let answer = words::answer(&asked, &self.proof(backend), &deployment, self.step);
        let status = Some(asked.status()).filter(|&status| status > 0);
        let first_token = asked.first_token();
        Some(TargetRow { status, first_token, ..named(way.row(&backend.name, answer)) })
    }

    /// One exchange. `None` if it could not be sent: there was an address and a credential a moment ago.
    async fn ask(&self, model: &LiveModel, target: usize, limit: TokenLimit) -> Option<Asked> {
        let clock = *self.live.clock();
        let sending = prompt(model, target, limit, clock.unix())?;
        let (sent, mut marks) = (clock.now(), Marks::default());
        let exchange = exchange(&self.http, &sending, &clock, &mut marks);
        // The rest of the answer is not waited for: its connection closes here.
        let result = timeout(self.step, exchange).await;
        let result = match result {
            Ok(result) => result,
            Err(_) => Err(Failure::bare(Outcome::TimedOut)),
        };
        Some(Asked::of(&result, (sent, clock.now()), marks))
    }
}

impl Way {
    fn is_open(&self) -> bool {
        [&self.dns, &self.tls, &self.credential].iter().all(|look| look.is_good())
    }

    fn row(&self, backend: &str, answer: Look) -> TargetRow {
        TargetRow {
            backend: backend.to_owned(),
            model: None,
            deployment: None,
            dns: self.dns.clone(),
            tls: self.tls.clone(),
            credential: self.credential.clone(),
            answer,
            status: None,
            first_token: None,
        }
    }
}

fn targets(snapshot: &Snapshot) -> Vec<(Arc<LiveModel>, usize)> {
    let of = |model: &Arc<LiveModel>| {
        let model = Arc::clone(model);
        (0..model.backends.len()).map(move |target| (Arc::clone(&model), target))
    };
    snapshot.models().flat_map(of).collect()
}

fn tenant_row(tenant: &Tenant) -> TenantRow {
    let keys = match tenant.keys() {
        Some(keys) => words::keys(keys.len()),
        None => words::no_keys(tenant.course().error),
    };
    TenantRow { tenant: tenant.id().to_owned(), keys }
}

/// Does the same with all, a bounded number at once, and gives what came of it in their order.
async fn in_turn<T, R, F: Future<Output = R>>(
    all: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> F,
) -> Vec<R> {
    let all: Vec<F> = all.into_iter().map(work).collect();
    iter(all).buffered(AT_ONCE).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{AccessLog, Metrics};

    #[test]
    fn every_target_is_asked_for_one_token() {
        let yaml = "listen: [{ address: 127.0.0.1:0 }]\n\
            backends: { a: { endpoint: http://127.0.0.1:9, auth: none } }\n\
            models: { one: {}, two: { routing: { probe: { max_tokens: 20 } } } }\n\
            apps: { a: { anonymous: true } }\n";
        let config = crate::config::check(yaml).unwrap().config;
        let telemetry = Arc::new(Telemetry::new(Metrics::new().unwrap(), AccessLog::off()));
        let preflight = Preflight::new(config, telemetry, STEP).unwrap();
        let snapshot = preflight.live.snapshot();
        assert_eq!(snapshot.models().count(), 2);
        for model in snapshot.models() {
            let sent = prompt(model, 0, TokenLimit::Tokens, Duration::ZERO).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&sent.body.concat()).unwrap();
            assert_eq!(body["max_tokens"], 1);
        }
    }
}
