//! The relay and a dispatcher that is encrypted, under an authority of its owner's own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use hyper::{Method, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::dispatcher::Dispatcher;
use crate::support::{Bridge, KEY, Options};

const POLL: &str = "/api/signals/pending?limit=10&wait_ms=0&protocol=2&terminal=unit-1";

/// An authority, and a listener with a certificate that it signed.
struct Encrypted {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Encrypted {
    /// For this name; with the authority's certificate as a text.
    async fn bind(name: &str) -> (Self, String) {
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new([]).expect("an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = authority.self_signed(&authority_key).expect("a certificate").pem();
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new([name.to_owned()]).expect("a server");
        let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key)).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.into()], key.into()).expect("they belong together");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        (Self { listener, acceptor: Arc::new(config).into() }, pem)
    }
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.listener.accept().await.expect("a connection");
            // One that does not trust us hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn bridge(dispatcher: &Dispatcher, settings: &[(&'static str, &str)]) -> Bridge {
    let url = format!("https://{}", dispatcher.address);
    Bridge::start(Options { dispatcher: url, installed: true, mode: "silent", settings }).await
}

/// What the EA and `/health` are told when the certificate is refused; nothing has reached the dispatcher.
async fn refused(bridge: &Bridge, dispatcher: &Dispatcher) -> String {
    let answer = bridge.relay(Method::GET, POLL, &[], "").await;
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &problem["code"]), (StatusCode::BAD_GATEWAY, &"dispatcher_unreachable".into()));
    let told = problem["detail"].as_str().expect("words");
    let health = bridge.health().await;
    assert!(health["dispatcher"]["state"].as_str().expect("words").starts_with(told), "{health}");
    assert_eq!(health["dispatcher"]["ok"], false);
    assert!(dispatcher.asked().is_empty());
    told.to_owned()
}

/// Goal: with its owner's authority the dispatcher is spoken to encrypted, and the key reaches it.
#[tokio::test]
async fn a_dispatcher_under_a_private_authority_is_trusted_when_told() {
    let (listener, authority) = Encrypted::bind("127.0.0.1").await;
    let file = std::env::temp_dir().join(format!("mt5-bridge-authority-{}.pem", std::process::id()));
    std::fs::write(&file, authority).expect("a file");
    let dispatcher = Dispatcher::serve(listener);
    let bridge = bridge(&dispatcher, &[("DISPATCHER_CA_FILE", file.to_str().expect("a name"))]).await;
    let answer = bridge.relay(Method::POST, "/api/account/update", &[], "{}").await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"{\"status\":\"ok\"}"[..]));
    let asked = dispatcher.asked().pop().expect("a request");
    assert_eq!(asked.uri, "/api/account/update");
    assert_eq!(asked.headers["x-api-key"], KEY);
    assert_eq!(bridge.health().await["dispatcher"]["state"], "answered 0 s ago");
    bridge.finish().await;
    std::fs::remove_file(file).expect("its removal");
}

/// Goal: a certificate that nobody trusted has signed is refused before the key is sent, in words that say what to do.
#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (listener, _) = Encrypted::bind("127.0.0.1").await;
    let dispatcher = Dispatcher::serve(listener);
    let bridge = bridge(&dispatcher, &[]).await;
    let told = refused(&bridge, &dispatcher).await;
    assert_eq!(
        told,
        "the dispatcher cannot be reached: its certificate is signed by an authority that is not trusted here"
    );
    assert!(bridge.log().contains(&told), "{}", bridge.log());
    bridge.finish().await;
}

/// Goal: whoever holds another's certificate of the same authority can't pass for the dispatcher.
#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (listener, authority) = Encrypted::bind("another.example.org").await;
    let dispatcher = Dispatcher::serve(listener);
    let bridge = bridge(&dispatcher, &[("DISPATCHER_CA", &authority)]).await;
    let told = refused(&bridge, &dispatcher).await;
    assert!(told.contains("not valid for name \"127.0.0.1\"") && told.contains("another.example.org"), "{told}");
    bridge.finish().await;
}
