//! Why no token came, in words that an operator can act on. Nothing that a server said is repeated but its status
//! and Entra's error numbers: an answer may hold what must not be logged.

use crate::config::checked::Credential;
use crate::live::TokenSource;
use crate::secrets;

/// Why no token came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// An answer that is none of a success, with Entra's error numbers.
    Status(u16, Vec<u32>),
    /// An answer that holds no token.
    Garbage,
    /// A token that has ended, or nearly.
    Expired,
    /// The secret cannot be read.
    Secret(String),
    /// The file with the token cannot be read.
    File(String),
    /// The library was led elsewhere by the environment.
    Environment,
    /// The library refuses what the configuration says.
    Refused,
}

impl Trouble {
    /// What is wrong, where, and what to do.
    pub(super) fn told(&self, source: &TokenSource) -> String {
        let (giver, whom) = (source.giver.origin(), whom(&source.identity.credential));
        let managed = is_managed(&source.identity.credential);
        match self {
            Self::Unreachable if managed => format!(
                "the metadata service at {giver} cannot be reached; is this a virtual machine of Azure? Else use \
                 another `auth`, or correct entra.imds"
            ),
            Self::Unreachable => format!(
                "{giver} cannot be reached; let this machine connect there, or correct entra.authority"
            ),
            Self::TimedOut => format!("{giver} does not answer in time; it is tried again"),
            Self::Status(status, _) if managed => refused_by_imds(*status, &giver, &whom),
            Self::Status(status, numbers) => refused_by_entra(*status, numbers, source),
            Self::Garbage => format!(
                "{giver} answers with something that holds no token; is it the right address, and no proxy's page?"
            ),
            Self::Expired => {
                format!("{giver} gave a token that has ended; is the clock of this machine right?")
            }
            Self::Secret(why) => format!("the client secret of {whom}: {why}"),
            Self::File(why) => format!("the token file of {whom}: {why}"),
            Self::Environment => "the environment names another place for tokens; unset IDENTITY_ENDPOINT and \
                                  MSI_ENDPOINT for this service: entra.imds says where they come from"
                .to_owned(),
            Self::Refused => {
                format!("the tenant, client id or scope of {whom} is not understood; correct it")
            }
        }
    }
}

fn is_managed(credential: &Credential) -> bool {
    !matches!(credential, Credential::Workload { .. } | Credential::Secret { .. })
}

fn whom(credential: &Credential) -> String {
    match credential {
        Credential::SystemAssigned => "this machine's own identity".to_owned(),
        Credential::ClientId(id) | Credential::ObjectId(id) | Credential::ResourceId(id) => {
            format!("the identity {id}")
        }
        Credential::Workload { client_id, .. } | Credential::Secret { client_id, .. } => {
            format!("the app registration {client_id}")
        }
    }
}

fn refused_by_imds(status: u16, giver: &str, whom: &str) -> String {
    match status {
        400 => format!(
            "{giver} has no such identity (HTTP 400); give {whom} to this virtual machine, or correct `auth`"
        ),
        401 | 403 => format!("{giver} refuses a token for {whom} (HTTP {status}); is it enabled?"),
        404 => format!(
            "{giver} finds no identity (HTTP 404); give {whom} to this virtual machine, or correct entra.imds"
        ),
        429 => format!(
            "{giver} is asked too often (HTTP 429), by whatever runs here; it is tried again"
        ),
        _ => format!("{giver} fails (HTTP {status}); it is tried again"),
    }
}

fn refused_by_entra(status: u16, numbers: &[u32], source: &TokenSource) -> String {
    let whom = whom(&source.identity.credential);
    let number = numbers.first().map(|number| format!(", AADSTS{number}")).unwrap_or_default();
    let (tenant, secret) = match &source.identity.credential {
        Credential::Secret { tenant, secret, .. } => (tenant.as_str(), Some(secret)),
        Credential::Workload { tenant, .. } => (tenant.as_str(), None),
        Credential::SystemAssigned
        | Credential::ClientId(_)
        | Credential::ObjectId(_)
        | Credential::ResourceId(_) => ("", None),
    };
    let place = secret.map(secrets::name).unwrap_or_default();
    let advice = match numbers.first() {
        Some(7_000_215) => {
            format!("the secret is wrong; put the secret's value (not its id) into {place}")
        }
        Some(7_000_222) => {
            format!("the secret has expired; make a new one and put it into {place}")
        }
        Some(700_016) => {
            format!("it is not known in the tenant {tenant}; correct client_id or tenant")
        }
        Some(90_002 | 900_023) => format!("there is no tenant {tenant}; correct it"),
        Some(70_021 | 700_211 | 700_212 | 700_213) => {
            "no federated credential matches its token file; add one with that issuer and subject"
                .to_owned()
        }
        Some(700_024) => "its token file is out of date; what writes it has stopped".to_owned(),
        Some(70_011 | 500_011 | 1_002_012) => {
            format!("the scope {} is not known there; correct it", source.identity.scope)
        }
        _ if status >= 500 || status == 429 => "it is tried again".to_owned(),
        _ => "check tenant, client_id and what proves it".to_owned(),
    };
    format!("{} refuses {whom} (HTTP {status}{number}): {advice}", source.giver.origin())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::{Endpoint, Identity, SecretSource};

    fn source(credential: Credential) -> TokenSource {
        let giver = Endpoint { tls: true, host: "login.example".to_owned(), port: 443 };
        TokenSource { identity: Identity { credential, scope: "s/.default".to_owned() }, giver }
    }

    #[test]
    fn every_trouble_says_what_to_do() {
        let secret = source(Credential::Secret {
            tenant: "t".to_owned(),
            client_id: "c".to_owned(),
            secret: SecretSource::Credential("aoai".to_owned()),
        });
        let check = |source: &TokenSource, trouble: &Trouble, expected: &str| {
            let told = trouble.told(source);
            assert!(told.contains(expected), "{told}");
        };
        check(
            &secret,
            &Trouble::Status(401, vec![7_000_215]),
            "AADSTS7000215): the secret is wrong",
        );
        check(&secret, &Trouble::Status(401, vec![7_000_222]), "put it into aoai");
        check(&secret, &Trouble::Status(400, vec![700_016]), "not known in the tenant t");
        check(&secret, &Trouble::Status(400, vec![70_011]), "the scope s/.default is not known");
        check(&secret, &Trouble::Status(503, vec![]), "(HTTP 503): it is tried again");
        check(&secret, &Trouble::Unreachable, "correct entra.authority");
        let user = source(Credential::ClientId("1-2".to_owned()));
        check(
            &user,
            &Trouble::Status(400, vec![]),
            "give the identity 1-2 to this virtual machine",
        );
        check(&user, &Trouble::Unreachable, "is this a virtual machine of Azure?");
        check(&user, &Trouble::Environment, "unset IDENTITY_ENDPOINT");
    }
}
