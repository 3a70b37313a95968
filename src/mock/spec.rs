//! What a mock backend is to be: built in code, or parsed from one argument of the command line.
//!
//! `eastus2=127.0.0.1:9101,ttft_median_ms=200,api_key=secret,deployments=gpt-4o+o3-mini`: a name, an address
//! (port 0 for any free one), then settings: `region`, `api_key`, `bearer`, `deployments` and each field of
//! [`Behaviour`]; lists are joined with `+`.

use crate::mock::bearer::BearerSpec;
use crate::mock::behaviour::Behaviour;
use crate::mock::fault::Injection;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// A mock backend to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSpec {
    /// How it is called by the control endpoint and in `x-mock-backend`.
    pub name: String,
    /// Where it listens; port 0 takes any free port.
    pub listen: SocketAddr,
    /// What it says in `x-ms-region`.
    pub region: String,
    /// The key that `api-key` has to hold; without it any credential will do, and none.
    #[serde(default)]
    pub api_key: Option<String>,
    /// Which tokens it takes. Beside an `api_key` either will do; without one, keys are refused.
    #[serde(default)]
    pub bearer: Option<BearerSpec>,
    /// What is deployed; without it, whatever is asked for.
    #[serde(default)]
    pub deployments: Option<Vec<String>>,
    /// How it behaves when it is well.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// What is wrong with it from the start.
    #[serde(default)]
    pub fault: Injection,
}

impl BackendSpec {
    /// A backend on any free port of 127.0.0.1 that is its own region and takes any key and any deployment.
    pub fn local(name: &str, behaviour: Behaviour) -> Self {
        Self {
            name: name.to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            region: name.to_owned(),
            api_key: None,
            bearer: None,
            deployments: None,
            behaviour,
            fault: Injection::default(),
        }
    }

    /// Says what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if self.name.is_empty() || !self.name.bytes().all(named) {
            return Err(format!(
                "{:?} is no name for a backend: use letters, digits, - _ and .",
                self.name
            ));
        }
        let checked = self.behaviour.check().and_then(|()| self.fault.check());
        checked.map_err(|problem| format!("backend {}: {problem}", self.name))
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "region" => value.clone_into(&mut self.region),
            "api_key" => self.api_key = Some(value.to_owned()),
            "bearer" => self.bearer = switched(key, value)?.then(BearerSpec::default),
            "deployments" => self.deployments = Some(listed(value).collect()),
            _ => {
                let patch = Map::from_iter([(key.to_owned(), setting(key, value))]);
                self.behaviour = self.behaviour.patched(patch)?;
            }
        }
        Ok(())
    }
}

impl FromStr for BackendSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let (name, address) = parts
            .next()
            .and_then(|first| first.split_once('='))
            .ok_or_else(|| format!("{text:?}: write NAME=ADDRESS:PORT first"))?;
        let mut spec = Self::local(name, Behaviour::default());
        spec.listen = address
            .parse()
            .map_err(|_| format!("{address:?} is no address: write for example 127.0.0.1:9101"))?;
        for part in parts {
            let (key, value) =
                part.split_once('=').ok_or_else(|| format!("{part:?}: write KEY=VALUE"))?;
            spec.set(key, value)?;
        }
        spec.check()?;
        Ok(spec)
    }
}

fn listed(value: &str) -> impl Iterator<Item = String> {
    value.split('+').filter(|item| !item.is_empty()).map(str::to_owned)
}

fn switched(key: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("{key}={value}: write {key}=true or {key}=false"))
}

/// A field of [`Behaviour`] as JSON: a list, a number or a word.
fn setting(key: &str, value: &str) -> Value {
    if key == "max_tokens_refused_by" {
        return listed(value).collect();
    }
    value.parse().map_or_else(|_| Value::from(value), Value::Number)
}

#[cfg(test)]
mod tests {
    use crate::mock::bearer::BearerSpec;
    use crate::mock::behaviour::{Behaviour, Headers};
    use crate::mock::spec::BackendSpec;

    #[test]
    fn an_argument_is_a_name_an_address_and_settings() {
        let text = "eu=127.0.0.1:9101,region=sweden,api_key=k,bearer=true,deployments=a+b,ttft_median_ms=20,tokens=3,headers=late";
        let spec: BackendSpec = text.parse().unwrap();
        let behaviour = Behaviour {
            ttft_median_ms: 20.0,
            tokens: 3,
            headers: Headers::Late,
            ..Behaviour::default()
        };
        let expected = BackendSpec {
            listen: ([127, 0, 0, 1], 9101).into(),
            region: "sweden".to_owned(),
            api_key: Some("k".to_owned()),
            bearer: Some(BearerSpec::default()),
            deployments: Some(vec!["a".to_owned(), "b".to_owned()]),
            ..BackendSpec::local("eu", behaviour)
        };
        assert_eq!(spec, expected);
    }

    #[test]
    fn a_mistake_is_told() {
        let check = |text: &str, problem: &str| {
            let told = text.parse::<BackendSpec>().unwrap_err();
            assert!(told.contains(problem), "{text}: {told}");
        };
        check("eu", "write NAME=ADDRESS:PORT first");
        check("eu=here", "\"here\" is no address");
        check("e/u=127.0.0.1:1", "is no name for a backend");
        check("eu=127.0.0.1:1,late", "write KEY=VALUE");
        check("eu=127.0.0.1:1,ttft=1", "unknown field `ttft`");
        check("eu=127.0.0.1:1,bearer=yes", "write bearer=true or bearer=false");
        check("eu=127.0.0.1:1,gap_ms=-1", "gap_ms is -1");
    }
}
