//! The door with real sockets: who gets in, who never again, and that nothing stops the loop (T11).

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use opslink::id::AgentId;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{config::CurrentCertificate, *};
use crate::{
    identity::{PeerInfo, Standing},
    pki::Authority,
    store::memory::MemoryStore,
};

mod known;

const LIMIT: Duration = Duration::from_secs(10);

async fn authority() -> Arc<Authority> {
    let store: crate::store::Store = crate::store::Store::from(MemoryStore::new());
    Arc::new(Authority::load(&store).await.unwrap())
}

fn current(authority: &Authority) -> Arc<CurrentCertificate> {
    CurrentCertificate::new(
        authority
            .issue_server(&["localhost".to_owned()], SystemTime::now())
            .unwrap(),
    )
    .unwrap()
}

/// A client that remembers sessions, with the certificate of an agent or without.
fn client(authority: &Authority, agent: Option<AgentId>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.server_root().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match agent {
        None => builder.with_no_client_auth(),
        Some(agent) => {
            let key = rcgen::KeyPair::generate().unwrap();
            let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
            let issued = authority.issue_agent(agent, csr.der(), SystemTime::now()).unwrap();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            builder.with_client_auth_cert(issued.chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

struct Server {
    addr: SocketAddr,
    _stop: DropGuard,
}

fn start<L: Listener>(listener: L, addr: SocketAddr, tls: Option<Arc<ServerConfig>>, limits: Limits) -> Server {
    let stop = CancellationToken::new();
    let router = Router::new().fallback(|request: Request| async move {
        let peer = request.extensions().get::<PeerInfo>().unwrap().clone();
        format!("certificate={} tls={}", peer.certificate.is_some(), peer.tls)
    });
    let endless = || async { Body::from_stream(futures::stream::pending::<io::Result<Bytes>>()) };
    let router = router.route("/endless", axum::routing::get(endless));
    let login = |request: Request| async move {
        request
            .extensions()
            .get::<Arc<Standing>>()
            .unwrap()
            .make_known("token:a");
        let mut answer = Response::new(Body::from_stream(futures::stream::pending::<io::Result<Bytes>>()));
        if request.uri().query() == Some("whole") {
            answer.extensions_mut().insert(Whole);
        } else {
            *answer.body_mut() = Body::empty();
        }
        answer
    };
    let router = router.route("/login", axum::routing::get(login));
    tokio::spawn(serve(listener, tls, router, limits, stop.clone(), TaskTracker::new()));
    Server {
        addr,
        _stop: stop.drop_guard(),
    }
}

fn start_tcp(tls: Option<Arc<ServerConfig>>, limits: Limits) -> Server {
    let listener = TcpAcceptor::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    start(listener, addr, tls, limits)
}

async fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await
}

/// One request and its whole answer; reading it also takes in any session ticket.
async fn get<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(stream: &mut S) -> io::Result<String> {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    match timeout(LIMIT, stream.read_to_string(&mut answer))
        .await
        .expect("an answer in time")
    {
        Ok(_) => Ok(answer),
        // The server closes after its answer; some close without saying so.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => Ok(answer),
        Err(error) => Err(error),
    }
}

#[tokio::test]
async fn nothing_is_ever_resumed_and_a_removed_agent_fails_the_handshake() {
    let authority = authority().await;
    let living = Arc::new(AtomicBool::new(true));
    let is_living = {
        let living = Arc::clone(&living);
        Arc::new(move |_| living.load(Ordering::SeqCst))
    };
    let ours = config::server_config(Arc::clone(&authority), current(&authority), is_living).unwrap();
    let server = start_tcp(Some(ours), Limits::default());

    let agent = client(&authority, Some(AgentId::new()));
    for _ in 0..3 {
        let mut stream = connect(server.addr, &agent).await.unwrap();
        assert!(get(&mut stream).await.unwrap().contains("certificate=true tls=true"));
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }

    living.store(false, Ordering::SeqCst);
    // In TLS 1.3 the client has finished before the server looks at its certificate, so the alert comes on reading.
    let refused = match connect(server.addr, &agent).await {
        Ok(mut stream) => get(&mut stream).await.expect_err("a removed agent must not be served"),
        Err(error) => error,
    };
    assert!(refused.to_string().contains("CertificateRevoked"), "{refused}");

    // Without a certificate the door is open as before.
    let mut anyone = connect(server.addr, &client(&authority, None)).await.unwrap();
    assert!(get(&mut anyone).await.unwrap().contains("certificate=false"));
}

/// The control: with rustls' defaults the same client resumes, so the test above can fail.
#[tokio::test]
async fn with_default_settings_the_same_client_would_have_resumed() {
    let authority = authority().await;
    let mut roots = RootCertStore::empty();
    roots.add(authority.agent_root().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let theirs = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(current(&authority));
    let server = start_tcp(Some(Arc::new(theirs)), Limits::default());
    let agent = client(&authority, Some(AgentId::new()));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(server.addr, &agent).await.unwrap();
        get(&mut stream).await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

#[tokio::test]
async fn a_certificate_of_another_cloud_or_of_the_server_authority_is_refused() {
    let (ours, theirs) = (authority().await, authority().await);
    let tls = config::server_config(Arc::clone(&ours), current(&ours), Arc::new(|_| true)).unwrap();
    let server = start_tcp(Some(tls), Limits::default());

    let foreign = {
        // Trusts us, but shows what another cloud issued.
        let mut config = ClientConfig::clone(&client(&ours, None));
        let other = client(&theirs, Some(AgentId::new()));
        config.client_auth_cert_resolver = Arc::clone(&other.client_auth_cert_resolver);
        Arc::new(config)
    };
    let server_as_client = {
        let made = ours.issue_server(&["localhost".to_owned()], SystemTime::now()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ours.server_root().clone()).unwrap();
        Arc::new(
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_client_auth_cert(made.chain, made.key)
                .unwrap(),
        )
    };
    for config in [foreign, server_as_client] {
        let refused = match connect(server.addr, &config).await {
            // A client may also decide to show nothing, since our hints do not name its issuer.
            Ok(mut stream) => match get(&mut stream).await {
                Ok(answer) => answer.contains("certificate=false"),
                Err(_) => true,
            },
            Err(_) => true,
        };
        assert!(refused);
    }
}

#[tokio::test]
async fn a_new_server_certificate_is_used_from_the_next_handshake_on() {
    let authority = authority().await;
    let certificate = current(&authority);
    let tls = config::server_config(Arc::clone(&authority), Arc::clone(&certificate), Arc::new(|_| true)).unwrap();
    let server = start_tcp(Some(tls), Limits::default());
    let anyone = client(&authority, None);
    let leaf = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let before = leaf(&connect(server.addr, &anyone).await.unwrap());
    certificate
        .replace(
            authority
                .issue_server(&["localhost".to_owned()], SystemTime::now())
                .unwrap(),
        )
        .unwrap();
    let after = leaf(&connect(server.addr, &anyone).await.unwrap());
    assert_ne!(before, after);
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let authority = authority().await;
    let tls = config::server_config(Arc::clone(&authority), current(&authority), Arc::new(|_| true)).unwrap();
    let limits = Limits {
        handshake: Duration::from_millis(50),
        places: Places {
            slots: Most {
                per_source: 1,
                in_all: 1,
            },
            ..Places::default()
        },
        ..Limits::default()
    };
    let server = start_tcp(Some(tls), limits);
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    // The only slot is taken, and given back when the silent one is sent away.
    let mut polite = timeout(LIMIT, connect(server.addr, &client(&authority, None)))
        .await
        .unwrap()
        .unwrap();
    assert!(get(&mut polite).await.unwrap().contains("200 OK"));
    let mut byte = [0];
    assert_eq!(
        timeout(LIMIT, silent.read(&mut byte)).await.unwrap().unwrap_or(0),
        0,
        "closed"
    );
}

#[tokio::test]
async fn an_old_connection_is_asked_to_end() {
    let limits = Limits {
        max_age: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = start_tcp(None, limits);
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer))
        .await
        .expect("closed by age")
        .unwrap();
    assert!(answer.contains("certificate=false tls=false"), "{answer}");
}

#[tokio::test]
async fn a_stranger_with_a_call_that_never_ends_is_cut() {
    let limits = Limits {
        handshake: Duration::from_secs(1),
        stranger_call: Duration::from_millis(50),
        drain: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = start_tcp(None, limits);
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let request = b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // However it ends: what matters is that it does.
    let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("cut");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

/// Fails some times before it hands out real connections.
struct Faulty {
    inner: TcpAcceptor,
    errors: VecDeque<io::Error>,
    failed: Arc<AtomicBool>,
}

impl Listener for Faulty {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.errors.pop_front() {
            Some(error) => {
                self.failed.store(self.errors.is_empty(), Ordering::SeqCst);
                Err(error)
            }
            None => self.inner.accept().await,
        }
    }
}

#[tokio::test]
async fn the_loop_survives_every_error_of_accept() {
    let inner = TcpAcceptor::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = inner.local_addr().unwrap();
    let errors = [
        io::Error::from_raw_os_error(nix::errno::Errno::EMFILE as i32),
        io::Error::from_raw_os_error(nix::errno::Errno::ENFILE as i32),
        io::Error::from_raw_os_error(nix::errno::Errno::ECONNABORTED as i32),
        io::Error::from_raw_os_error(nix::errno::Errno::ENOMEM as i32),
        io::Error::other("anything"),
    ];
    let failed = Arc::new(AtomicBool::new(false));
    let faulty = Faulty {
        inner,
        errors: errors.into(),
        failed: Arc::clone(&failed),
    };
    let server = start(faulty, addr, None, Limits::default());
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    assert!(get(&mut stream).await.unwrap().contains("200 OK"));
    assert!(failed.load(Ordering::SeqCst), "the errors came");
}
