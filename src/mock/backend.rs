//! One backend's state: what it is, how it behaves, what is wrong with it, and what it has seen.

use crate::clock::Clock;
use crate::mock::Entra;
use crate::mock::ask::Ask;
use crate::mock::bearer::bearer;
use crate::mock::behaviour::{Behaviour, Pace, Timing};
use crate::mock::cache::Cache;
use crate::mock::draft::Draft;
use crate::mock::effect::{Effect, effect};
use crate::mock::fault::{Armed, Injection};
use crate::mock::ledger::Ledger;
use crate::mock::refusal::Refusal;
use crate::mock::route::Surface;
use crate::mock::spec::BackendSpec;
use crate::mock::store::Shelf;
use crate::rng::Rng;
use http::HeaderMap;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Builder;

/// What the tasks of one backend share.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) region: String,
    pub(super) address: SocketAddr,
    pub(super) clock: Clock,
    pub(super) ledger: Arc<Ledger>,
    /// What lives here and nowhere else.
    pub(super) shelf: Mutex<Shelf>,
    api_key: Option<String>,
    bearer: Option<Trust>,
    deployments: Option<Vec<String>>,
    behaviour: Mutex<Behaviour>,
    armed: watch::Sender<Armed>,
    rng: Mutex<Rng>,
    cache: Cache,
}

/// Whose tokens are taken, for which audiences.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) entra: Entra,
    pub(super) audiences: Vec<String>,
}

/// Where and when a backend is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
}

impl Backend {
    /// `trust` is what the specification's `bearer` comes to.
    pub(super) fn new(spec: BackendSpec, trust: Option<Trust>, place: Place) -> Self {
        let BackendSpec {
            name,
            listen: _,
            region,
            api_key,
            bearer: _,
            deployments,
            behaviour,
            fault,
        } = spec;
        let Place { address, clock, rng } = place;
        Self {
            name,
            region,
            address,
            clock,
            ledger: Arc::new(Ledger::new(clock)),
            shelf: Mutex::default(),
            api_key,
            bearer: trust,
            deployments,
            behaviour: Mutex::new(behaviour),
            armed: watch::Sender::new(Armed { injection: fault, since: clock.now() }),
            cache: Cache::default(),
            rng: Mutex::new(rng),
        }
    }

    pub(super) fn behaviour(&self) -> Behaviour {
        self.behaviour.lock().clone()
    }

    /// Changes the behaviour by a function of the present one, unless that finds a problem.
    pub(super) fn change_behaviour(
        &self,
        change: impl FnOnce(&Behaviour) -> Result<Behaviour, String>,
    ) -> Result<(), String> {
        let mut behaviour = self.behaviour.lock();
        *behaviour = change(&behaviour)?;
        Ok(())
    }

    pub(super) fn injection(&self) -> Injection {
        self.armed.borrow().injection.clone()
    }

    pub(super) fn inject(&self, injection: Injection) -> Result<(), String> {
        injection.check()?;
        self.armed.send_replace(Armed { injection, since: self.clock.now() });
        Ok(())
    }

    pub(super) fn watch_fault(&self) -> watch::Receiver<Armed> {
        self.armed.subscribe()
    }

    /// What becomes of a request that arrives now.
    pub(super) fn effect(&self) -> Effect {
        let now = self.clock.now();
        let (fault, since) = {
            let armed = self.armed.borrow();
            (armed.strike(now, &mut self.rng.lock()), armed.since)
        };
        effect(&fault, now.since(since), self.clock.unix())
    }

    /// Sees that the request has this resource's key, or a token that it takes.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let sent = headers.get("api-key").map(http::HeaderValue::as_bytes);
        match (&self.api_key, &self.bearer) {
            (None, None) => Ok(()),
            // Either header: the plain OpenAI clients send the key as a bearer, and the v1 form takes it.
            (Some(key), _)
                if sent == Some(key.as_bytes()) || bearer(headers) == Some(key.as_str()) =>
            {
                Ok(())
            }
            (Some(_), None) => Err(Refusal::wrong_key()),
            (Some(_), Some(_)) if sent.is_some() => Err(Refusal::wrong_key()),
            (None, Some(_)) if sent.is_some() => Err(Refusal::keys_disabled()),
            (_, Some(Trust { entra, audiences })) => {
                let token = bearer(headers).filter(|token| entra.accepts(token, audiences));
                token.map(drop).ok_or_else(Refusal::wrong_token)
            }
        }
    }

    /// What is deployed here; a fixed choice where anything is.
    pub(super) fn deployments(&self) -> Vec<String> {
        let any =
            || ["gpt-4o", "gpt-4o-mini", "text-embedding-3-large"].map(str::to_owned).to_vec();
        self.deployments.clone().unwrap_or_else(any)
    }

    pub(super) fn deploys(&self, deployment: &str) -> bool {
        self.deployments.as_ref().is_none_or(|known| known.iter().any(|name| name == deployment))
    }

    /// Draws the times of an answer that needs no draft.
    pub(super) fn timing(&self, pace: Pace) -> Timing {
        let behaviour = self.behaviour.lock();
        behaviour.timing(pace, &mut self.rng.lock())
    }

    /// Decides what an answer is going to say, or why there is none.
    pub(super) fn draft(&self, ask: &Ask, pace: Pace) -> Result<Draft, Refusal> {
        if !self.deploys(&ask.deployment) {
            return Err(Refusal::unknown_deployment());
        }
        let id = self.fresh_id();
        let behaviour = self.behaviour.lock();
        let refuses = |prefix: &String| ask.deployment.starts_with(prefix.as_str());
        if ask.surface == Surface::Chat
            && ask.max_tokens.is_some()
            && behaviour.max_tokens_refused_by.iter().any(refuses)
        {
            return Err(Refusal::max_tokens());
        }
        let timing = behaviour.timing(pace, &mut self.rng.lock());
        let mut draft = Draft::new(ask, &behaviour, timing, id);
        let cached = self.cache.cached(ask.prefix, ask.prompt_tokens);
        draft.usage.cached = draft.usage.cached.max(cached);
        Ok(draft)
    }

    /// A new id in the form of a UUID.
    pub(super) fn fresh_id(&self) -> String {
        let mut rng = self.rng.lock();
        let bits = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }
}
