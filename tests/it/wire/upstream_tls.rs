//! Backends behind TLS and a host name, as Azure's are: certificate checked, name resolved off the request.
//!
//! The backend here is a second Firstlight with a TLS listener, in front of the mock.

use crate::support::{Answer, KEY, Setup, V1_CHAT, World, client, streamed_chat, wait_until};
use firstlight::server::{Firstlight, Running};
use firstlight::telemetry::AccessLog;
use tempfile::TempDir;

struct Certificate {
    folder: TempDir,
}

impl Certificate {
    fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        Self { folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// A proxy whose one backend is `https://localhost:PORT`, and whatever `extra` says of it.
fn front(port: u16, certificate: &Certificate, extra: &str) -> Running {
    let text = format!(
        "listen: [ {{ address: \"127.0.0.1:0\" }} ]\nadmin: {{ address: 127.0.0.1:0 }}\n\
         backends: {{ a: {{ endpoint: \"https://localhost:{port}\", auth: {{ api_key: {{ file: \"{}\" }} }}{extra} }} }}\n\
         models: {{ gpt-4o: {{}} }}\napps: {{ dev: {{ anonymous: true }} }}\n\
         routing: {{ probe: {{ interval_seconds: 0 }} }}\n",
        certificate.file("key")
    );
    let config = firstlight::config::check(&text).unwrap().config;
    Firstlight::bind(config, AccessLog::off()).unwrap().spawn()
}

async fn ask(front: &Running) -> Answer {
    wait_until("the name is resolved", || {
        front.live().snapshot().backends().all(|b| !b.addresses().is_empty())
    })
    .await;
    let url = format!("http://{}{V1_CHAT}", front.addresses()[0]);
    Answer::read(client(|b| b).post(url).json(&streamed_chat()).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let certificate = Certificate::new("localhost");
    let tls = Some((certificate.file("tls.crt"), certificate.file("tls.key")));
    let back = World::of(Setup { tls, ..Setup::default() }).await;
    let port = back.address().port();

    let trusting = front(port, &certificate, &format!(", ca: \"{}\"", certificate.file("tls.crt")));
    let answer = ask(&trusting).await;
    answer.assert_whole_stream();
    assert_eq!(back.requests("a"), 1);

    let doubting = front(port, &certificate, "");
    let answer = ask(&doubting).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "no_backend_available"));
    assert_eq!(back.requests("a"), 1, "nothing was sent to a stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused() {
    let certificate = Certificate::new("elsewhere.example");
    let tls = Some((certificate.file("tls.crt"), certificate.file("tls.key")));
    let back = World::of(Setup { tls, ..Setup::default() }).await;
    let ca = format!(", ca: \"{}\"", certificate.file("tls.crt"));
    let answer = ask(&front(back.address().port(), &certificate, &ca)).await;
    assert_eq!(answer.status, 503);
    assert_eq!(back.requests("a"), 0);
}

#[test]
fn files_that_hold_no_certificate_are_told_before_anything_runs() {
    let certificate = Certificate::new("localhost");
    let text = |extra: &str, listen: &str| {
        format!(
            "listen: [ {{ address: \"127.0.0.1:0\"{listen} }} ]\nadmin: {{ address: none }}\n\
             backends: {{ a: {{ endpoint: \"https://localhost:1\", auth: none{extra} }} }}\n\
             models: {{ gpt-4o: {{}} }}\napps: {{ dev: {{ anonymous: true }} }}\n"
        )
    };
    let key = certificate.file("key");
    for (text, says) in [
        (text(&format!(", ca: \"{key}\""), ""), "holds no certificate"),
        (text(", ca: /no/such/file", ""), "cannot be read"),
        (
            text("", &format!(", tls: {{ certificate: \"{key}\", key: \"{key}\" }}")),
            "holds no certificate; write the PEM file of the chain",
        ),
        (text("", ", tls: { certificate: /no/such, key: /no/such }"), "cannot read /no/such"),
    ] {
        let config = firstlight::config::check(&text).unwrap().config;
        let error = Firstlight::bind(config, AccessLog::off()).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}
