//! PostgreSQL and RabbitMQ over TLS: what an operator names in the two URLs is trusted, and nothing else is spoken to.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::StatusCode;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use stack::sandbox::Sandbox;
use support::{eventually, servers};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// An authority of our own, and a certificate it signed.
struct Authority {
    file: PathBuf,
    acceptor: TlsAcceptor,
}

impl Authority {
    /// With a certificate for this name.
    fn new(name: &str) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new([]).expect("an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = authority.self_signed(&authority_key).expect("a certificate").pem();
        let file = std::env::temp_dir().join(format!("authority-{}.pem", uuid::Uuid::new_v4().simple()));
        std::fs::write(&file, pem).expect("a file");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new([name.to_owned()]).expect("a server");
        let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key)).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.into()], key.into()).expect("they belong together");
        Self { file, acceptor: Arc::new(config).into() }
    }
}

/// What stands before a server and encrypts.
struct Front {
    address: SocketAddr,
    /// Connections that trusted the certificate, and those that hung up.
    trusted: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Front {
    /// Before the server of this URL; PostgreSQL's clients ask in plain words whether it encrypts, and go on if so.
    async fn before(url: &str, acceptor: TlsAcceptor) -> Self {
        let asks = url.starts_with("postgres");
        let server: SocketAddr = address_in(url).parse().expect("an address");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let front = Self { address, trusted: Arc::default(), refused: Arc::default() };
        let (trusted, refused) = (front.trusted.clone(), front.refused.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (acceptor, trusted, refused) = (acceptor.clone(), trusted.clone(), refused.clone());
                tokio::spawn(async move {
                    if asks {
                        let mut request = [0; 8];
                        client.read_exact(&mut request).await?;
                        assert_eq!(request[4..], 80_877_103_u32.to_be_bytes(), "not a request for encryption");
                        client.write_all(b"S").await?;
                    }
                    if let Ok(mut client) = acceptor.accept(client).await {
                        trusted.fetch_add(1, Ordering::Relaxed);
                        copy_bidirectional(&mut client, &mut TcpStream::connect(server).await?).await.map(drop)
                    } else {
                        refused.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    }
                });
            }
        });
        front
    }
}

fn address_in(url: &str) -> &str {
    url.split_once('@').and_then(|(_, rest)| rest.split('/').next()).expect("host and port")
}

/// A sandbox whose services reach both servers through TLS only, at `localhost`, and trust this file.
async fn encrypted(certified: &Authority, trust: &Authority) -> (Sandbox, [Front; 2]) {
    let (database_url, amqp_url) = servers();
    let mut sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.expect("a sandbox");
    let settings = &mut sandbox.settings;
    let fronts = [
        Front::before(&settings.database_url, certified.acceptor.clone()).await,
        Front::before(&settings.amqp_url, certified.acceptor.clone()).await,
    ];
    let through = |url: &str, front: &Front| {
        url.replace(address_in(url), &format!("localhost:{}", front.address.port())).replace("amqp:", "amqps:")
    };
    let file = trust.file.display();
    settings.database_url =
        format!("{}?sslmode=verify-full&sslrootcert={file}", through(&settings.database_url, &fronts[0]));
    settings.amqp_url = format!("{}?cacertfile={file}", through(&settings.amqp_url, &fronts[1]));
    (sandbox, fronts)
}

/// Goal: a signal goes the whole way over encrypted connections alone.
#[tokio::test]
async fn servers_under_an_authority_of_ones_own_are_reached_encrypted() {
    let authority = Authority::new("localhost");
    let (sandbox, fronts) = encrypted(&authority, &authority).await;
    let platform = sandbox.start().await.expect("ready");
    let operator = sandbox.operator(&platform).expect("a client");
    let answer = operator.post("/api/signal", &json!({"action": "PING"})).await.expect("accepted");
    eventually("the signal is stored", || async {
        operator.signal(answer["signal_id"].as_str()?).await.expect("an answer")
    })
    .await;
    for front in &fronts {
        assert!(front.trusted.load(Ordering::Relaxed) > 0);
        assert_eq!(front.refused.load(Ordering::Relaxed), 0);
    }
    assert!(platform.stop().await);
    sandbox.remove().await.expect("removed");
}

/// Goal: nothing is sent to a server that another authority vouches for, nor to one with another's name.
#[tokio::test]
async fn servers_that_cannot_be_trusted_are_not_spoken_to() {
    let (own, stranger, renamed) =
        (Authority::new("localhost"), Authority::new("localhost"), Authority::new("elsewhere"));
    for (certified, trust) in [(&stranger, &own), (&renamed, &renamed)] {
        let (mut sandbox, fronts) = encrypted(certified, trust).await;
        let platform = sandbox.launch().await.expect("started");
        eventually("both are tried", || async {
            fronts.iter().all(|front| front.refused.load(Ordering::Relaxed) > 1).then_some(())
        })
        .await;
        let answer = reqwest::get(format!("{}/readyz", platform.url)).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        for front in &fronts {
            assert_eq!(front.trusted.load(Ordering::Relaxed), 0);
        }
        assert!(platform.stop().await);
        sandbox.settings.amqp_url = servers().1;
        sandbox.remove().await.expect("removed");
    }
}
