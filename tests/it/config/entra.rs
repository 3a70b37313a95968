//! Entra ID, identities of our own, limits and keys that end.

use super::wrong_files::wrong;
use firstlight::config::check;
use firstlight::config::checked::{AppLimits, BackendAuth, CallerId, Config, Credential};
use firstlight::config::{diff, dump};
use std::path::PathBuf;

const FILE: &str = r#"
listen: [{ address: 127.0.0.1:0 }]
backends:
  system: { endpoint: https://a.example }
  plain: { endpoint: https://b.example, auth: managed_identity }
  client: { endpoint: https://c.example, auth: { managed_identity: { client_id: AAAAAAAA-0000-0000-0000-000000000001 } } }
  object: { endpoint: https://d.example, auth: { managed_identity: { object_id: aaaaaaaa-0000-0000-0000-000000000002, scope: https://ai.azure.com/.default } } }
  resource: { endpoint: https://e.example, auth: { managed_identity: { resource_id: /subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n } } }
  workload: { endpoint: https://f.example, auth: { workload_identity: { tenant: aaaaaaaa-0000-0000-0000-000000000003, client_id: aaaaaaaa-0000-0000-0000-000000000004, token_file: /run/token } } }
  secret: { endpoint: https://g.example, auth: { client_secret: { tenant: aaaaaaaa-0000-0000-0000-000000000003, client_id: aaaaaaaa-0000-0000-0000-000000000004, secret: { env: SECRET } } } }
models: { gpt-4o: {} }
apps:
  users: { entra: { tenant: BBBBBBBB-0000-0000-0000-000000000001, audiences: [x], roles: [A, B], scopes: [use], probe_roles: [P] } }
  job: { entra: { tenant: bbbbbbbb-0000-0000-0000-000000000001, audiences: [x, "api://x"], clients: [CCCCCCCC-0000-0000-0000-000000000001] }, limits: { requests_per_minute: 60, tokens_per_minute: 1000, concurrent: 5 } }
  both:
    entra: { tenant: bbbbbbbb-0000-0000-0000-000000000002, audiences: [x] }
    api_keys:
      - { sha256: 1111111111111111111111111111111111111111111111111111111111111111, name: day, expires: 2027-06-30 }
      - { sha256: 2222222222222222222222222222222222222222222222222222222222222222, name: moment, expires: 2027-06-30T12:00:00Z }
entra: { authority: https://login.partner.microsoftonline.cn, imds: "http://127.0.0.1:40342" }
caller: { headers: true, id: sub, id_header: X-User }
"#;

fn config() -> Config {
    let checked = check(FILE).unwrap();
    assert_eq!(checked.warnings, []);
    checked.config
}

fn identity(config: &Config, backend: &str) -> (Credential, String) {
    let BackendAuth::Identity(identity) = config.backends[backend].auth.clone() else {
        panic!("{backend} has no identity")
    };
    (identity.credential, identity.scope)
}

#[test]
fn identities_can_be_written_in_every_form() {
    let config = config();
    let id = |last: u32| format!("aaaaaaaa-0000-0000-0000-00000000000{last}");
    // The cloud's own: its authority stands in the file.
    let usual = "https://cognitiveservices.azure.cn/.default".to_owned();
    assert_eq!(identity(&config, "system"), (Credential::SystemAssigned, usual.clone()));
    assert_eq!(identity(&config, "plain"), identity(&config, "system"));
    assert_eq!(identity(&config, "client"), (Credential::ClientId(id(1)), usual));
    let foundry = "https://ai.azure.com/.default".to_owned();
    assert_eq!(identity(&config, "object"), (Credential::ObjectId(id(2)), foundry));
    assert!(
        matches!(identity(&config, "resource").0, Credential::ResourceId(path) if path.ends_with("/n"))
    );
    let (tenant, client_id, token_file) = (id(3), id(4), PathBuf::from("/run/token"));
    let workload = Credential::Workload { tenant, client_id, token_file };
    assert_eq!(identity(&config, "workload").0, workload);
    assert!(matches!(identity(&config, "secret").0, Credential::Secret { .. }));
}

#[test]
fn apps_have_tokens_limits_and_keys_that_end() {
    let config = config();
    let users = config.apps["users"].entra.clone().unwrap();
    assert_eq!(users.tenant, "bbbbbbbb-0000-0000-0000-000000000001");
    assert_eq!(
        (users.roles, users.scopes),
        (vec!["A".to_owned(), "B".to_owned()], vec!["use".to_owned()])
    );
    let job = config.apps["job"].entra.clone().unwrap();
    assert_eq!(
        (job.roles, job.probe_roles),
        (vec!["LLM.Invoke".to_owned()], vec!["Probe.Execute".to_owned()])
    );
    assert_eq!(job.clients, ["cccccccc-0000-0000-0000-000000000001"]);
    assert_eq!(
        config.apps["job"].limits,
        AppLimits {
            requests_per_minute: Some(60),
            tokens_per_minute: Some(1000),
            concurrent: Some(5)
        }
    );
    assert_eq!(config.apps["users"].limits, AppLimits::default());
    let ends: Vec<_> =
        config.apps["both"].api_keys.iter().map(|key| key.expires.unwrap()).collect();
    // The day is good to its end: 2027-07-01T00:00:00Z.
    assert_eq!(ends, [1_814_400_000, 1_814_356_800]);
    assert_eq!(
        (config.caller.all, config.caller.id, config.caller.id_header.as_str()),
        (true, CallerId::Sub, "x-user")
    );
}

#[test]
fn issuers_follow_the_cloud() {
    let issuers = |authority: &str| {
        let config = check(&FILE.replace("https://login.partner.microsoftonline.cn", authority))
            .unwrap()
            .config;
        (config.entra.issuer_v2("t"), config.entra.issuer_v1("t"))
    };
    let check = |authority: &str, v2: &str, v1: &str| {
        assert_eq!(issuers(authority), (v2.to_owned(), v1.to_owned()));
    };
    check(
        "https://login.microsoftonline.com",
        "https://login.microsoftonline.com/t/v2.0",
        "https://sts.windows.net/t/",
    );
    check(
        "https://login.microsoftonline.us/",
        "https://login.microsoftonline.us/t/v2.0",
        "https://sts.windows.net/t/",
    );
    check(
        "https://login.partner.microsoftonline.cn",
        "https://login.partner.microsoftonline.cn/t/v2.0",
        "https://sts.chinacloudapi.cn/t/",
    );
    check("\"http://127.0.0.1:99\"", "http://127.0.0.1:99/t/v2.0", "http://127.0.0.1:99/t/");
    check(
        "https://login.example, sts: https://sts.example",
        "https://login.example/t/v2.0",
        "https://sts.example/t/",
    );
}

#[test]
fn it_is_dumped_and_compared() {
    let config = config();
    assert_eq!(check(&dump(&config)).unwrap().config, config);
    assert_eq!(diff(&config, &config), []);
    let mut changed = config.clone();
    changed.apps.get_mut("both").unwrap().api_keys[0].expires = None;
    changed.apps.get_mut("users").unwrap().entra.as_mut().unwrap().roles = vec!["A".to_owned()];
    changed.apps.get_mut("job").unwrap().limits.concurrent = None;
    let told: Vec<_> = diff(&config, &changed).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "- apps.both.api_keys.day (expires): 2027-07-01T00:00:00Z",
            "~ apps.job.limits.concurrent: 5 -> 0",
            "~ apps.users.entra.roles: [A, B] -> [A]",
        ]
    );
}

#[test]
fn wrong_identities_name_what_to_write() {
    wrong(
        r"backends:
  a: { endpoint: https://a.example, auth: { managed_identity: { client_id: me } } }
  b: { endpoint: https://b.example, auth: { managed_identity: { client_id: aaaaaaaa-0000-0000-0000-000000000001, object_id: aaaaaaaa-0000-0000-0000-000000000001 } } }
  c: { endpoint: https://c.example, auth: { managed_identity: { resource_id: /subscriptions } } }
  d: { endpoint: https://d.example, auth: { managed_identity: { scope: https://cognitiveservices.azure.com } } }
  e: { endpoint: https://e.example, auth: { workload_identity: { tenant: aaaaaaaa-0000-0000-0000-000000000001 } } }
  f: { endpoint: https://f.example, auth: { client_secret: { tenant: aaaaaaaa-0000-0000-0000-000000000001, client_id: aaaaaaaa-0000-0000-0000-000000000001, secret: hunter2 } } }
entra: { authority: http://login.example, imds: http://10.0.0.1 }",
        r"
2:76  backends.a.auth.managed_identity.client_id: not a GUID; write the client id: 8-4-4-4-12 hexadecimal digits, as in the Azure portal
3:125  backends.b.auth.managed_identity.object_id: a second id of one identity; keep one of them
4:78  backends.c.auth.managed_identity.resource_id: not the resource id of a user-assigned identity; write /subscriptions/ID/resourcegroups/NAME/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME
5:72  backends.d.auth.managed_identity.scope: not a scope that ends in `/.default`; write https://cognitiveservices.azure.com/.default, or leave it out
6:45  backends.e.auth.workload_identity: `client_id` is missing; write `client_id: GUID`
6:45  backends.e.auth.workload_identity: `token_file` is missing; write `token_file: /path`
7:165  backends.f.auth.client_secret.secret: a secret, or nothing, where its source belongs; put it elsewhere and write { env: NAME }, { file: /path } or { credential: name }
8:21  entra.authority: plain http to a host that is not on loopback; write `https://`; the key must not travel in the clear
8:49  entra.imds: neither link-local nor loopback over http; write `http://169.254.169.254`
",
    );
}

#[test]
fn wrong_apps_and_callers_name_what_to_write() {
    wrong(
        r"apps:
  a: { entra: { tenant: common, audiences: [] } }
  b: { entra: {} }
  c: { entra: { tenant: aaaaaaaa-0000-0000-0000-000000000001, audiences: [x, x, a b] } }
  d: { entra: { tenant: aaaaaaaa-0000-0000-0000-000000000001, audiences: [y, x] } }
  e: { entra: { tenant: aaaaaaaa-0000-0000-0000-000000000001, audiences: [x], clients: [aaaaaaaa-0000-0000-0000-000000000002] } }
  f: { entra: { tenant: aaaaaaaa-0000-0000-0000-000000000001, audiences: [x], roles: [Other], scopes: [use] } }
  g: { api_keys: [{ sha256: 1111111111111111111111111111111111111111111111111111111111111111, name: a, expires: soon }] }
caller: { id: name, id_header: Authorization }",
        r"
2:25  apps.a.entra.tenant: not a GUID; write the tenant's id: 8-4-4-4-12 hexadecimal digits, as in the Azure portal
2:44  apps.a.entra.audiences: empty; write GUID or api://GUID
3:8  apps.b.entra: `audiences` is missing; write `audiences: [GUID, api://GUID]`
3:8  apps.b.entra: `tenant` is missing; write `tenant: GUID`
4:78  apps.c.entra.audiences[1]: it stands twice in the list; keep one of them
4:81  apps.c.entra.audiences[2]: white space or other letters than ASCII; write GUID or api://GUID
5:8  apps.d.entra: the same tokens as `apps.c.entra`; give each app `clients`, `roles` or `audiences` of its own
8:113  apps.g.api_keys[0].expires: neither a day nor a moment; write a day such as 2027-06-30, or a moment in UTC such as 2027-06-30T12:00:00Z
9:15  caller.id: not a word that is known here; write one of `off`, `oid`, `sub`
9:32  caller.id_header: a header that means something else; choose another, such as `caller-objectid`
",
    );
}

/// Whoever may listen on this machine could sign tokens for everyone.
#[test]
fn an_authority_on_loopback_wants_listeners_there() {
    wrong(
        "listen: [{ address: 0.0.0.0:80, tls: { certificate: a, key: b } }]\nentra: { authority: http://127.0.0.1:9 }",
        "2:21  entra.authority: a loopback endpoint, while other machines reach `listen[0].address`; write an endpoint elsewhere, or listen on 127.0.0.1 only",
    );
}
