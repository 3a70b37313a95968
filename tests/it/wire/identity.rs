//! Backends that take tokens of our own identities: whose they get, and what becomes of requests without one.

use crate::support::{
    Answer, PROBE_KEY, Setup, V1_CHAT, World, streamed_chat, wait_for, wait_until,
};
use firstlight::mock::{
    Beside, Entra, EntraEndpoint, EntraFault, EntraSpec, Fault, Imds, ImdsFault, ImdsSpec,
};
use firstlight::routing::Block;
use futures_util::future::join_all;
use std::time::Duration;

const MANAGED: &str = "managed_identity";

/// A fake Entra, and a fake IMDS whose tokens last so long.
async fn beside(lifetime: Duration) -> Beside {
    let entra = Entra::start(EntraSpec::default()).await.unwrap();
    let spec = ImdsSpec { lifetime, ..ImdsSpec::default() };
    let imds = Imds::start(spec, entra.clone()).await.unwrap();
    Beside { entra: Some(entra), imds: Some(imds) }
}

/// `a`, the preferred one, takes tokens of the machine's own identity; the others take the key.
async fn world(regions: &[&'static str], beside: Beside) -> World {
    let identities = vec![("a", MANAGED.to_owned())];
    World::of(Setup { regions: regions.to_vec(), beside, identities, ..Setup::default() }).await
}

impl World {
    fn is_blocked(&self, region: &str, block: Block) -> bool {
        let snapshot = self.proxy.live().snapshot();
        let pool = &snapshot.model("gpt-4o").unwrap().pool;
        pool.blocks(pool.position(region).unwrap()).unwrap().has(block)
    }

    async fn token_of(&self, region: &str) {
        wait_until("a token", || !self.is_blocked(region, Block::NoToken)).await;
    }

    async fn probes(&self, outcome: &str) -> String {
        let labels = format!("backend=\"a\",model=\"gpt-4o\",outcome=\"{outcome}\"");
        self.metric(&format!("firstlight_probes_total{{{labels}}}")).await
    }

    async fn served_by(&self, region: &str) {
        wait_for(region, || async { (self.chat().await.backend() == Some(region)).then_some(()) })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_identity_gets_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let registration = format!("tenant: {}, client_id: {}", EntraSpec::TENANT, EntraSpec::CLIENT);
    let (secret, token) = (file("secret", EntraSpec::SECRET), file("token", "an-assertion"));
    let identities = vec![
        ("a", MANAGED.to_owned()),
        ("b", format!("{{ managed_identity: {{ client_id: {} }} }}", ImdsSpec::ASSIGNED)),
        ("c", format!("{{ managed_identity: {{ object_id: {} }} }}", ImdsSpec::ASSIGNED_OBJECT)),
        (
            "d",
            format!("{{ managed_identity: {{ resource_id: {} }} }}", ImdsSpec::ASSIGNED_RESOURCE),
        ),
        ("e", format!("{{ workload_identity: {{ {registration}, token_file: {token} }} }}")),
        ("f", format!("{{ client_secret: {{ {registration}, secret: {{ file: {secret} }} }} }}")),
    ];
    let regions: Vec<&str> = identities.iter().map(|(region, _)| *region).collect();
    let beside = beside(Duration::from_hours(24)).await;
    let world =
        World::of(Setup { regions: regions.clone(), beside, identities, ..Setup::default() }).await;
    for region in regions {
        world.token_of(region).await;
        let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
        let request = request.header("x-probe-target", region).json(&streamed_chat());
        Answer::read(request.send().await.unwrap()).await.assert_whole_stream();
        let sent = world.mock.last_request(region).unwrap().unwrap();
        assert!(sent.header("authorization").unwrap().starts_with("Bearer eyJ"), "{region}");
        assert_eq!(sent.header("api-key"), None, "{region}");
    }
    assert_eq!(world.imds().counters().completed, 4);
    assert_eq!(world.entra().counters(EntraEndpoint::Token).completed, 2);
    let secret = format!("secret:{}/{}", EntraSpec::TENANT, EntraSpec::CLIENT);
    let fetched = |identity: &str| {
        format!("firstlight_identity_refresh_total{{identity=\"{identity}\",result=\"ok\"}}")
    };
    assert_eq!(world.metric(&fetched("system")).await, "1");
    assert_eq!(world.metric(&fetched(&secret)).await, "1");
    let expires = "firstlight_identity_token_expiry_timestamp_seconds{identity=\"system\"}";
    assert_ne!(world.metric(expires).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_notices_that_the_metadata_service_is_down() {
    // Usable for eight seconds, and renewed after three or four.
    let world = world(&["a"], beside(Duration::from_secs(38)).await).await;
    world.token_of("a").await;
    world.imds().set_fault(ImdsFault::Down).unwrap();
    let (longest, mut after) = (Duration::from_secs(1), 0);
    while after < 20 {
        let answer = tokio::time::timeout(longest, world.chat()).await.unwrap();
        answer.assert_whole_stream();
        assert_eq!((answer.backend(), answer.attempts()), (Some("a"), Some(1)));
        after += u32::from(world.imds().counters().faulted > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_others_serve_until_there_is_one_again() {
    let world = world(&["a", "b"], beside(Duration::from_secs(33)).await).await;
    world.token_of("a").await;
    assert_eq!(world.chat().await.backend(), Some("a"));
    // Not tried again by the library, so that the test sees the second fetch soon.
    world.imds().set_fault(ImdsFault::Status(403)).unwrap();
    wait_until("the token's end", || world.is_blocked("a", Block::NoToken)).await;
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.backend(), answer.attempts()), (200, Some("b"), Some(1)));
    let gauge = "firstlight_target_blocked{backend=\"a\",model=\"gpt-4o\",reason=\"no_token\"}";
    assert_eq!((world.metric(gauge).await.as_str(), world.admin("/readyz").await.0), ("1", 200));
    world.imds().set_fault(ImdsFault::None).unwrap();
    world.served_by("a").await;
    assert_eq!(world.metric(gauge).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_token_at_all_it_says_so_and_waits_for_one() {
    let beside = beside(Duration::from_hours(1)).await;
    let imds = beside.imds.clone().unwrap();
    imds.set_fault(ImdsFault::Status(400)).unwrap();
    let world = world(&["a"], beside).await;
    let answer = world.chat().await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true));
    assert_eq!(world.admin("/readyz").await.0, 503);
    let request = world.client.post(world.url(V1_CHAT)).header("api-key", PROBE_KEY);
    let request = request.header("x-probe-target", "a").json(&streamed_chat());
    assert_eq!(Answer::read(request.send().await.unwrap()).await.status, 503);
    assert_eq!(world.requests("a"), 0, "nothing is sent without a token");
    imds.set_fault(ImdsFault::None).unwrap();
    world.served_by("a").await;
    assert_eq!(world.admin("/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_secret_is_told_and_another_is_read_without_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a-canary-that-is-wrong").unwrap();
    let auth = format!(
        "{{ client_secret: {{ tenant: {}, client_id: {}, secret: {{ file: {} }} }} }}",
        EntraSpec::TENANT,
        EntraSpec::CLIENT,
        secret.display()
    );
    let beside = beside(Duration::from_hours(1)).await;
    let world = World::of(Setup {
        regions: vec!["a"],
        identities: vec![("a", auth)],
        beside,
        ..Setup::default()
    })
    .await;
    let told = async |expected: &str| {
        wait_until(expected, || {
            let snapshot = world.proxy.live().snapshot();
            let error = snapshot.tokens().next().unwrap().course().error.unwrap_or_default();
            assert!(!error.contains("canary"), "{error}");
            error.contains(expected)
        })
        .await;
    };
    told("AADSTS7000215): the secret is wrong").await;
    world.entra().set_fault(EntraEndpoint::Token, EntraFault::Huge).unwrap();
    told("holds no token").await;
    world.entra().set_fault(EntraEndpoint::Token, EntraFault::None).unwrap();
    std::fs::write(&secret, EntraSpec::SECRET).unwrap();
    world.served_by("a").await;
}

/// What Entra does when it withdraws a signing key.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_refusals_of_one_token_are_one_renewal() {
    let world = world(&["a", "b"], beside(Duration::from_hours(1)).await).await;
    world.token_of("a").await;
    world.entra().rotate().await.unwrap();
    world.entra().retire_old();
    let answers = join_all((0..100).map(|_| world.chat())).await;
    assert!(answers.iter().any(|answer| answer.attempts() == Some(2)));
    answers.iter().for_each(Answer::assert_whole_stream);
    wait_for("the probe's answer", || async { (world.probes("ok").await != "0").then_some(()) })
        .await;
    assert_eq!(world.imds().counters().completed, 2);
    assert!(!world.is_blocked("a", Block::AuthFailed), "the probe had the new token");
    world.served_by("a").await;
    assert!(!world.log_text().contains("eyJ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_refuses_every_token_is_left_until_a_reload_tries_it_again() {
    let world = world(&["a", "b"], beside(Duration::from_hours(1)).await).await;
    world.token_of("a").await;
    world.fault("a", Fault::WrongToken);
    let answer = world.chat().await;
    answer.assert_whole_stream();
    assert_eq!((answer.backend(), answer.attempts()), (Some("b"), Some(2)));
    wait_until("the probe's answer", || world.is_blocked("a", Block::AuthFailed)).await;
    assert_eq!(world.imds().counters().completed, 2, "one renewal");
    assert_eq!(world.probes("unauthorised").await, "1");
    let before = world.requests("a");
    assert_eq!(world.chat().await.attempts(), Some(1));
    assert_eq!(world.requests("a"), before, "a blocked target is not used");
    world.mock.set_fault("a", Fault::None).unwrap();
    let yaml = world.yaml.clone();
    world.reload(&yaml).await.unwrap();
    world.served_by("a").await;
    assert_eq!(world.imds().counters().completed, 2, "a reload keeps the token");
    assert_eq!(world.probes("ok").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_fetches_the_token_of_a_new_identity_before_it_is_live() {
    let beside = beside(Duration::from_hours(1)).await;
    let imds = beside.imds.clone().unwrap();
    let world = world(&["a", "b"], beside).await;
    world.token_of("a").await;
    let user = format!("auth: {{ managed_identity: {{ client_id: {} }} }}", ImdsSpec::ASSIGNED);
    let next = world.yaml.replacen("auth: managed_identity", &user, 1);
    let reloaded = world.reload(&next).await.unwrap();
    assert_eq!(reloaded.warnings, Vec::<String>::new());
    let answer = world.chat().await;
    assert_eq!((answer.backend(), answer.attempts()), (Some("a"), Some(1)));
    imds.set_fault(ImdsFault::Status(400)).unwrap();
    let stranger = format!(
        "auth: {{ managed_identity: {{ client_id: {}, scope: \"https://ai.azure.com/.default\" }} }}",
        ImdsSpec::ASSIGNED
    );
    let next = world.yaml.replacen("auth: managed_identity", &stranger, 1);
    let told = world.reload(&next).await.unwrap().warnings.join("\n");
    assert!(told.contains("no token for client_id:b7f8e9d0"), "{told}");
    assert!(told.contains("give the identity b7f8e9d0"), "{told}");
    assert_eq!(world.chat().await.backend(), Some("b"));
}
