//! A certificate of one's own, in files.

use super::client;
use reqwest::{Client, ClientBuilder};
use std::net::SocketAddr;
use std::path::Path;

pub(crate) struct Pem {
    name: &'static str,
    certificate: String,
    key: String,
}

impl Pem {
    pub(crate) fn of(name: &'static str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        Self { name, certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// Writes both into a folder, and gives the YAML that names them.
    pub(crate) fn write(&self, folder: &Path) -> String {
        let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        std::fs::write(&certificate, &self.certificate).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        format!("{{ certificate: {}, key: {} }}", certificate.display(), key.display())
    }

    /// A client that trusts this certificate alone and finds its name at `address`.
    pub(crate) fn client(&self, address: SocketAddr) -> Client {
        self.client_with(address, |builder| builder)
    }

    pub(crate) fn client_with(
        &self,
        address: SocketAddr,
        configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Client {
        let trusted = reqwest::Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        client(|b| configure(b.tls_certs_only([trusted]).resolve(self.name, address)))
    }

    pub(crate) fn url(&self, address: SocketAddr, path: &str) -> String {
        format!("https://{}:{}{path}", self.name, address.port())
    }
}
