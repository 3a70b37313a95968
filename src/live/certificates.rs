//! The certificates of the listeners: part of the snapshot, so that a reload changes them together with
//! everything else. Which one a client gets is decided at each handshake, by the name that it asks for (SNI).

use crate::config::checked::{ListenerTls, SecretSource};
use crate::live::Live;
use crate::secrets::{self, SecretError};
use pingora_core::tls::sign::CertifiedKey;
use pingora_core::tls::{
    CertificateDer, ClientHello, CryptoProvider, PrivateKeyDer, ResolvesServerCert,
    install_default_crypto_provider,
};
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One of the two files cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SecretError),
    /// It is not what it should be.
    #[error("{file}: {wrong}")]
    Wrong {
        /// Which file.
        file: String,
        /// What is wrong with it, and what to do.
        wrong: String,
    },
}

/// One certificate with its key.
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// Names it is for, lower case; a wildcard as `*.example.com`.
    names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

/// The certificates of one listener, in the order of the configuration; the first is for whom no name fits.
#[derive(Default)]
pub struct Certificates(Vec<Certificate>);

impl Certificates {
    pub(super) fn load(settings: &[ListenerTls]) -> Result<Self, CertificateError> {
        settings.iter().map(Certificate::load).collect::<Result<_, _>>().map(Self)
    }

    /// All of them.
    pub fn all(&self) -> &[Certificate] {
        &self.0
    }

    /// The one for a name that a client asks for; the first where none fits or none is asked for.
    fn for_name(&self, name: Option<&str>) -> Option<&Certificate> {
        let fits = |name: &str| self.0.iter().find(|certificate| certificate.is_for(name));
        name.and_then(fits).or_else(|| self.0.first())
    }
}

impl Certificate {
    fn load(settings: &ListenerTls) -> Result<Self, CertificateError> {
        install_default_crypto_provider();
        let chain = read_chain(&settings.certificate)?;
        let key = read_key(&settings.key)?;
        let wrong = |file: &SecretSource, wrong: String| CertificateError::Wrong {
            file: secrets::name(file),
            wrong,
        };
        let leaf = chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()));
        let (names, expires) = names_and_end(&leaf).map_err(|e| wrong(&settings.certificate, e))?;
        let Some(provider) = CryptoProvider::get_default() else {
            return Err(wrong(&settings.key, "no cryptography is there to use it".to_owned()));
        };
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|e| {
            let certificate = secrets::name(&settings.certificate);
            wrong(&settings.key, format!("cannot be used with the certificate {certificate}: {e}"))
        })?;
        Ok(Self { key: Arc::new(key), names, expires })
    }

    /// Its first name, for people.
    pub fn name(&self) -> &str {
        self.names.first().map_or("unnamed", String::as_str)
    }

    fn is_for(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether a name is one that the pattern of a certificate stands for (RFC 6125: `*` is one whole label, the
/// first).
fn matches(pattern: &str, name: &str) -> bool {
    let Some(rest) = pattern.strip_prefix("*.") else {
        return pattern.eq_ignore_ascii_case(name);
    };
    name.split_once('.')
        .is_some_and(|(label, parent)| !label.is_empty() && parent.eq_ignore_ascii_case(rest))
}

fn read_chain(source: &SecretSource) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = secrets::read_text(source)?;
    let wrong = |wrong: String| CertificateError::Wrong { file: secrets::name(source), wrong };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text.expose().as_bytes()).collect();
    let chain = chain.map_err(|e| wrong(format!("is not a PEM file: {e}")))?;
    if chain.is_empty() {
        return Err(wrong(
            "holds no certificate; write the PEM file of the chain, leaf first".to_owned(),
        ));
    }
    Ok(chain)
}

fn read_key(source: &SecretSource) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let text = secrets::read_text(source)?;
    PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|_| CertificateError::Wrong {
        file: secrets::name(source),
        // The parser's own words may hold parts of the key.
        wrong: "holds no private key that can be read; write the PEM file of an unencrypted key"
            .to_owned(),
    })
}

fn names_and_end(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, i64), String> {
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|e| format!("its first certificate cannot be read: {e}"))?;
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let general = alternative.map(|names| names.value.general_names.clone()).unwrap_or_default();
    let mut names = Vec::new();
    for name in &general {
        if let GeneralName::DNSName(name) = name {
            names.push(name.to_ascii_lowercase());
        }
    }
    Ok((names, parsed.validity().not_after.timestamp()))
}

/// Finds the certificate of a listener in whatever snapshot is live at the handshake.
pub struct ServerNames {
    live: Arc<Live>,
    listener: usize,
}

impl ServerNames {
    /// For the listener at that place of the configuration.
    pub fn new(live: Arc<Live>, listener: usize) -> Self {
        Self { live, listener }
    }
}

impl fmt::Debug for ServerNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerNames({})", self.listener)
    }
}

impl ResolvesServerCert for ServerNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.live.snapshot();
        let certificate = snapshot.certificates(self.listener)?.for_name(hello.server_name())?;
        Some(Arc::clone(&certificate.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(matches("api.example.com", "API.example.com"));
        assert!(matches("*.example.com", "api.Example.com"));
        for name in ["example.com", "a.b.example.com", ".example.com", "apiexample.com"] {
            assert!(!matches("*.example.com", name), "{name}");
        }
    }

    fn source(text: &str) -> (tempfile::NamedTempFile, SecretSource) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let source = SecretSource::File(file.path().to_owned());
        (file, source)
    }

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn load(pairs: &[(String, String)]) -> Result<Certificates, CertificateError> {
        let files: Vec<_> = pairs.iter().map(|(c, k)| (source(c), source(k))).collect();
        let settings: Vec<ListenerTls> = files
            .iter()
            .map(|(c, k)| ListenerTls { certificate: c.1.clone(), key: k.1.clone() })
            .collect();
        Certificates::load(&settings)
    }

    #[test]
    fn the_certificate_is_the_one_for_the_name() {
        let all = load(&[pair(&["a.example"]), pair(&["b.example", "*.b.example"])]).unwrap();
        let name = |asked| all.for_name(asked).unwrap().name().to_owned();
        assert_eq!(name(Some("x.b.example")), "b.example");
        assert_eq!(name(Some("a.example")), "a.example");
        assert_eq!(name(Some("other.example")), "a.example");
        assert_eq!(name(None), "a.example");
        assert!(all.all()[0].expires > 1_700_000_000);
    }

    #[test]
    fn what_cannot_be_used_is_told_without_the_key() {
        let (certificate, key) = pair(&["a.example"]);
        let wrong = |c: &str, k: &str, says: &str| {
            let error = load(&[(c.to_owned(), k.to_owned())]).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("PRIVATE"), "{error}");
        };
        wrong(&certificate, &pair(&["a.example"]).1, "cannot be used with the certificate");
        wrong("nothing", &key, "holds no certificate");
        wrong(&certificate, "nothing", "holds no private key");
        wrong(&certificate, key.split_at(key.len() / 2).0, "holds no private key");
        wrong(certificate.split_at(certificate.len() / 2).0, &key, "PEM");
        wrong(&key, &certificate, "holds no certificate");
    }
}
