//! A listener that is for some apps only.

use crate::support::{Answer, KEY, PROBE_KEY, Pem, Setup, V1_CHAT, World, client, streamed_chat};
use reqwest::{Client, ClientBuilder};

/// The first listener is for the app `tests` alone, the second for all, the third is as the first, over TLS.
async fn world(pem: &Pem, folder: &std::path::Path) -> World {
    let listen = format!(
        "  - {{ address: 127.0.0.1:0, apps: [tests] }}\n  - address: 127.0.0.1:0\n  \
         - {{ address: 127.0.0.1:0, apps: [tests], tls: {} }}\n",
        pem.write(folder)
    );
    World::of(Setup { listen: Some(listen), ..Setup::default() }).await
}

async fn ask(client: &Client, url: &str, key: &str) -> Answer {
    let request = client.post(url).header("api-key", key).json(&streamed_chat());
    Answer::read(request.send().await.unwrap()).await
}

fn check_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "listener_forbidden"));
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("may not be used on this address"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_refused_there_by_every_protocol_and_served_elsewhere() {
    let (pem, folder) = (Pem::of("localhost"), tempfile::tempdir().unwrap());
    let world = world(&pem, folder.path()).await;
    let [some, all, secure] = *world.proxy.addresses() else { panic!("three listeners") };
    let plain = |address| format!("http://{address}{V1_CHAT}");
    for configure in [|b: ClientBuilder| b, ClientBuilder::http2_prior_knowledge] {
        let client = client(configure);
        assert_eq!(ask(&client, &plain(some), KEY).await.status, 200);
        check_refused(&ask(&client, &plain(some), PROBE_KEY).await);
        assert_eq!(ask(&client, &plain(all), KEY).await.status, 200);
        assert_eq!(ask(&client, &plain(all), PROBE_KEY).await.status, 200);
    }
    for configure in [ClientBuilder::http1_only, |b: ClientBuilder| b] {
        let client = pem.client_with(secure, configure);
        assert_eq!(ask(&client, &pem.url(secure, V1_CHAT), KEY).await.status, 200);
        check_refused(&ask(&client, &pem.url(secure, V1_CHAT), PROBE_KEY).await);
    }
    // Neither a path without a body nor one without a model is a way round.
    let list = world.client.get(format!("http://{some}/openai/v1/models"));
    check_refused(&Answer::read(list.header("api-key", PROBE_KEY).send().await.unwrap()).await);
    assert_eq!(ask(&world.client, &plain(some), "nobody's").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_who_may_on_open_connections_too() {
    let (pem, folder) = (Pem::of("localhost"), tempfile::tempdir().unwrap());
    let world = world(&pem, folder.path()).await;
    let address = |place: usize| format!("http://{}{V1_CHAT}", world.proxy.addresses()[place]);
    let statuses = || async {
        let mut all = Vec::new();
        for (place, key) in [(0, KEY), (0, PROBE_KEY), (1, KEY), (1, PROBE_KEY)] {
            all.push(ask(&world.client, &address(place), key).await.status);
        }
        all
    };
    assert_eq!(statuses().await, [200, 403, 200, 200]);
    // The two have one address in the file, 127.0.0.1:0: they go by their order.
    let first = "{ address: 127.0.0.1:0, apps: [tests] }";
    let second = "- address: 127.0.0.1:0\n";
    let turned = world.yaml.replacen(first, "{ address: 127.0.0.1:0, apps: [operator] }", 1);
    let turned = turned.replacen(second, "- { address: 127.0.0.1:0, apps: [tests] }\n", 1);
    let reloaded = world.reload(&turned).await.unwrap();
    assert_eq!((reloaded.changed.len(), reloaded.waiting.len()), (2, 0), "{reloaded:?}");
    assert_eq!(statuses().await, [403, 200, 200, 403]);
    let open = world.yaml.replace(", apps: [tests]", "");
    world.reload(&open).await.unwrap();
    assert_eq!(statuses().await, [200, 200, 200, 200]);
}
