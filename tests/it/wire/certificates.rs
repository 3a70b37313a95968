//! Certificates of the listeners: which one a client gets, and that a reload changes it for new connections.

use crate::support::{KEY, Pem, Setup, V1_CHAT, World, streamed_chat};
use reqwest::{Client, ClientBuilder};
use std::fmt::Write;
use tempfile::TempDir;

/// A world whose one listener has these certificates, in folders of their own.
async fn world(all: &[&Pem]) -> (World, Vec<TempDir>) {
    let mut listen = String::from("  - address: 127.0.0.1:0\n    tls:\n");
    let folders: Vec<TempDir> = all.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    for (pem, folder) in all.iter().zip(&folders) {
        writeln!(listen, "      - {}", pem.write(folder.path())).unwrap();
    }
    (World::of(Setup { listen: Some(listen), ..Setup::default() }).await, folders)
}

/// The status of a request; `None` where the handshake fails.
async fn ask(client: &Client, url: &str) -> Option<u16> {
    let request = client.post(url).header("api-key", KEY).json(&streamed_chat());
    match request.send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            response.bytes().await.unwrap();
            Some(status)
        }
        Err(error) => {
            assert!(error.is_connect(), "{error:?}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_see_the_new_one_and_old_connections_go_on() {
    let (old, new) = (Pem::of("localhost"), Pem::of("localhost"));
    let (world, folders) = world(&[&old]).await;
    let url = old.url(world.address(), V1_CHAT);
    let trusts_old = old.client(world.address());
    assert_eq!(ask(&trusts_old, &url).await, Some(200));
    assert_eq!(ask(&new.client(world.address()), &url).await, None);

    new.write(folders[0].path());
    assert_eq!(ask(&new.client(world.address()), &url).await, None, "only a reload reads it");
    world.reload(&world.yaml).await.unwrap();
    assert_eq!(ask(&new.client(world.address()), &url).await, Some(200));
    assert_eq!(ask(&old.client(world.address()), &url).await, None);
    assert_eq!(ask(&trusts_old, &url).await, Some(200), "on the connection that it has");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_that_is_asked_for_chooses_and_the_first_serves_the_rest() {
    let (first, second) = (Pem::of("first.example"), Pem::of("second.example"));
    let (world, _folders) = world(&[&first, &second]).await;
    let address = world.address();
    for pem in [&first, &second] {
        for configure in [ClientBuilder::http1_only, |b: ClientBuilder| b] {
            let client = pem.client_with(address, configure);
            assert_eq!(ask(&client, &pem.url(address, V1_CHAT)).await, Some(200));
        }
    }
    // Neither certificate is for that name; the first is offered, which its client refuses for the name alone.
    for (pem, offered) in [(&first, true), (&second, false)] {
        let client = pem.client_with(address, |b| b.resolve("third.example", address));
        let error = client.get(format!("https://third.example:{}/", address.port())).send().await;
        let error = format!("{:?}", error.unwrap_err());
        assert_eq!(error.contains("NotValidForName"), offered, "{error}");
    }
    let text = world.admin("/metrics").await.1;
    for name in ["first.example", "second.example"] {
        let is =
            |line: &str| line.starts_with("firstlight_certificate_expires") && line.contains(name);
        assert!(text.lines().any(is), "{name}");
    }
}
