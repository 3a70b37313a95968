//! What backends are told of the caller, for an audit behind them.
//!
//! Nothing of it is the client's to say: what it sends under these names is removed, whether or not there is
//! something to tell in its place.

use crate::config::checked::{CallerHeaders, CallerId};
use crate::proxy::identify::Proof;
use http::{HeaderMap, HeaderName, HeaderValue};

const APP: HeaderName = HeaderName::from_static("x-caller-app");
const TENANT: HeaderName = HeaderName::from_static("x-caller-tenant-id");
const OBJECT: HeaderName = HeaderName::from_static("x-caller-object-id");
const CLIENT: HeaderName = HeaderName::from_static("x-caller-client-id");

/// Says in `headers`, which go to a backend, who asks.
pub(super) fn tell(
    wanted: &CallerHeaders,
    (app, proof): (Option<&str>, &Proof),
    headers: &mut HeaderMap,
) {
    let caller = proof.caller();
    let object = caller.and_then(|caller| caller.object_id.as_deref());
    if wanted.all {
        set(headers, &APP, app);
        set(headers, &TENANT, caller.map(|caller| caller.tenant.as_str()));
        set(headers, &OBJECT, object);
        set(headers, &CLIENT, caller.and_then(|caller| caller.client.as_deref()));
    }
    let id = match wanted.id {
        CallerId::Off => return,
        CallerId::Oid => object,
        CallerId::Sub => caller.and_then(|caller| caller.subject.as_deref()),
    };
    if let Ok(name) = HeaderName::from_bytes(wanted.id_header.as_bytes()) {
        set(headers, &name, id);
    }
}

fn set(headers: &mut HeaderMap, name: &HeaderName, value: Option<&str>) {
    headers.remove(name);
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::caller::Caller;
    use std::sync::Arc;

    fn token() -> Proof {
        Proof::Token(Arc::new(Caller {
            app: "chat".into(),
            tenant: "tenant".to_owned(),
            object_id: Some("object".to_owned()),
            subject: Some("subject".to_owned()),
            client: Some("client".to_owned()),
            may_probe: false,
            expires: 1,
        }))
    }

    fn check(wanted: (bool, CallerId, &str), proof: &Proof, expected: &[(&str, &str)]) {
        let (all, id, id_header) = wanted;
        let wanted = CallerHeaders { all, id, id_header: id_header.to_owned() };
        // As if a client had sent them and they had crossed.
        let mut headers = HeaderMap::new();
        for name in [APP, TENANT, OBJECT, CLIENT, HeaderName::from_static("who")] {
            headers.append(&name, HeaderValue::from_static("forged"));
            headers.append(name, HeaderValue::from_static("forged twice"));
        }
        tell(&wanted, (Some("chat"), proof), &mut headers);
        let pairs = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap()));
        let mut told: Vec<_> = pairs.filter(|(_, value)| !value.starts_with("forged")).collect();
        told.sort_unstable();
        assert_eq!(told, expected);
        let forged =
            |name: &str| headers.get_all(name).iter().any(|v| v.as_bytes().starts_with(b"forged"));
        assert!(
            !all || !["x-caller-app", "x-caller-tenant-id", "x-caller-object-id"]
                .into_iter()
                .any(forged)
        );
        assert!(id == CallerId::Off || !forged("who"));
    }

    #[test]
    fn a_caller_is_told_and_never_forged() {
        let four = [
            ("x-caller-app", "chat"),
            ("x-caller-client-id", "client"),
            ("x-caller-object-id", "object"),
            ("x-caller-tenant-id", "tenant"),
        ];
        check((false, CallerId::Off, "who"), &token(), &[]);
        check((true, CallerId::Off, "who"), &token(), &four);
        check((false, CallerId::Oid, "who"), &token(), &[("who", "object")]);
        check((false, CallerId::Sub, "who"), &token(), &[("who", "subject")]);
        check((true, CallerId::Oid, "who"), &Proof::None, &[("x-caller-app", "chat")]);
    }
}
