//! Signing keys in the state directory: a process that starts while Entra is away checks tokens all the same.

use crate::support::entra::entra;
use crate::support::{Home, Service, wait_until};
use firstlight::mock::{Behaviour, Entra, EntraEndpoint, EntraFault, EntraSpec};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const CANNOT: &str = "kept signing keys cannot be used";

async fn home(entra: &Entra) -> Home {
    let home = Home::new(Behaviour::instant()).await;
    home.configure(&home.yaml_with(entra));
    home
}

fn file(home: &Home) -> PathBuf {
    home.path(&format!("state/signing-keys-{}.json", EntraSpec::TENANT))
}

async fn stop(mut service: Service) {
    service.signal("TERM");
    assert!(service.ended().await.success());
}

/// What a process leaves that served with the keys of this Entra.
async fn leave(home: &Home, entra: &Entra) {
    let service = home.start().await;
    service.chat_with(&entra.issue(json!({}))).await.assert_whole_stream();
    wait_until("the file", || file(home).exists()).await;
    stop(service).await;
}

async fn readyz(service: &Service) -> u16 {
    let admin = service.said("admin listening").await;
    let url = format!("http://{}/readyz", admin["address"].as_str().unwrap());
    service.client.get(url).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_during_an_outage_still_checks_tokens() {
    let entra = entra().await;
    let home = home(&entra).await;
    leave(&home, &entra).await;
    let kept: Value = serde_json::from_slice(&fs::read(file(&home)).unwrap()).unwrap();
    assert_eq!(kept["tenant"], EntraSpec::TENANT);
    let good = entra.issue(json!({ "uti": "never seen" }));
    let stranger = crate::support::entra::made_up(&entra, "made-up");
    entra.set_fault_everywhere(EntraFault::Down).unwrap();
    let service = home.start().await;
    service.said("signing keys as last kept").await;
    service.chat_with(&good).await.assert_whole_stream();
    assert_eq!(service.chat_with(&stranger).await.error_code(), "unknown_signing_key");
    assert_eq!(readyz(&service).await, 200);
    service.said("no signing keys fetched, tried again").await;
    service.chat_with(&good).await.assert_whole_stream();
    // What was kept is still there for the next one.
    stop(service).await;
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(file(&home)).unwrap()).unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_withdrawn_meanwhile_is_found_out_by_the_first_fetch() {
    let entra = entra().await;
    let home = home(&entra).await;
    leave(&home, &entra).await;
    let old = entra.issue(json!({}));
    entra.rotate().await.unwrap();
    entra.retire_old();
    let service = home.start().await;
    crate::support::wait_for("the key's end", || async {
        (service.chat_with(&old).await.status == 401).then_some(())
    })
    .await;
    service.chat_with(&entra.issue(json!({}))).await.assert_whole_stream();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_costs_a_line_in_the_log() {
    let entra = entra().await;
    let home = home(&entra).await;
    leave(&home, &entra).await;
    let good = fs::read(file(&home)).unwrap();
    let kept: Value = serde_json::from_slice(&good).unwrap();
    let with = |name: &str, value: Value| {
        let mut kept = kept.clone();
        kept[name] = value;
        kept.to_string().into_bytes()
    };
    let cases = [
        (b"\x00\xffgarbage".to_vec(), "not a file of ours"),
        (good.split_at(good.len() / 2).0.to_vec(), "not a file of ours"),
        (vec![b' '; 4 << 20], "not a file of ours"),
        (with("version", json!(2)), "of version 2"),
        (with("tenant", json!("0a0b0c0d-1111-4222-8333-444455556666")), "of another tenant"),
        (with("authority", json!("https://login.example")), "of another tenant or authority"),
        (with("document", json!("{\"keys\":[]}")), "they are fetched anew"),
    ];
    for (content, says) in cases {
        fs::write(file(&home), content).unwrap();
        let service = home.start().await;
        let told = service.said(CANNOT).await;
        assert!(told["why"].as_str().unwrap().contains(says), "{told}");
        service.chat_with(&entra.issue(json!({}))).await.assert_whole_stream();
        // It was put right.
        wait_until("a good file", || {
            let text = fs::read(file(&home)).unwrap();
            let kept = serde_json::from_slice::<Value>(&text);
            kept.is_ok_and(|now| now["document"] == kept_document(&good))
        })
        .await;
        stop(service).await;
    }
}

fn kept_document(file: &[u8]) -> Value {
    serde_json::from_slice::<Value>(file).unwrap()["document"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kept_keys_it_starts_and_waits_for_them() {
    let entra = entra().await;
    let home = home(&entra).await;
    fs::write(file(&home), "{}").unwrap();
    entra.set_fault(EntraEndpoint::Keys, EntraFault::Status(503)).unwrap();
    let service = home.start().await;
    service.said("serving, although clients' tokens cannot be checked yet").await;
    assert_eq!((service.lines(CANNOT).len(), readyz(&service).await), (1, 200));
    service.chat().await.assert_whole_stream();
    let token = entra.issue(json!({}));
    let answer = service.chat_with(&token).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    entra.set_fault(EntraEndpoint::Keys, EntraFault::None).unwrap();
    crate::support::wait_for("the keys", || async {
        (service.chat_with(&token).await.status == 200).then_some(())
    })
    .await;
}
