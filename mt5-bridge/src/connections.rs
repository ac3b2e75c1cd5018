//! Connections to the outside, kept warm; plain or encrypted.

use std::error::Error;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections to any number of addresses.
pub(crate) type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Connections that trust these authorities alone, or else the system's.
pub(crate) fn connections(trusted: Option<RootCertStore>) -> Result<Connections, String> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(Duration::from_secs(15)));
    let builder = HttpsConnectorBuilder::new();
    let builder = match trusted {
        Some(trusted) => {
            builder.with_tls_config(ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth())
        }
        None => builder.with_native_roots().map_err(|error| format!("no root certificates: {error}"))?,
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
}

/// The authorities in a PEM text: at least one, and all of them usable.
pub(crate) fn authorities(pem: &str) -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        authorities.add(certificate).map_err(|error| error.to_string())?;
    }
    if authorities.is_empty() { Err("no certificate is in it".to_owned()) } else { Ok(authorities) }
}

/// Why an exchange failed: the innermost cause says what a person can act on.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = inner(cause) {
        cause = inner;
    }
    match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is signed by an authority that is not trusted here".to_owned()
        }
        _ => cause.to_string(),
    }
}

fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An input or output error speaks for what it wraps, and does not name it as its source.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}
