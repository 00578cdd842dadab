//! A cloud in this process on free ports, and clients for it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use opslink::{
    id::{AgentId, TokenId},
    pb,
    renewal::{ChannelBinding, EXPORTER_LABEL},
    time::UnixMicros,
};
use opslink_cloud::{
    identity::secret,
    server::{Cloud, Settings},
    store::{
        Store,
        memory::MemoryStore,
        record::{Audit, Role, Token},
    },
    tls::{self, Limits, TcpAcceptor},
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

/// Longest wait for anything here.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Password of `admin` in [`Edge::memory`].
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// A running cloud.
pub(crate) struct Edge {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) tls_addr: SocketAddr,
    pub(crate) plain_addr: SocketAddr,
    _stop: DropGuard,
}

impl Edge {
    /// On the in-memory store, with an admin.
    pub(crate) async fn memory() -> Self {
        let edge = Self::over(Store::from(MemoryStore::new())).await;
        edge.cloud.accounts.first_admin(Some(PASSWORD)).await.unwrap();
        edge
    }

    /// On this store.
    pub(crate) async fn over(store: Store) -> Self {
        let stop = CancellationToken::new();
        let settings = Settings {
            public_url: "https://ops.example:7443".to_owned(),
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            ..Settings::default()
        };
        let cloud = Cloud::assemble(store, settings, stop.clone()).await.unwrap();
        let bind = || TcpAcceptor::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (encrypted, plain) = (bind(), bind());
        let (tls_addr, plain_addr) = (encrypted.local_addr().unwrap(), plain.local_addr().unwrap());
        let serve = |listener, tls| {
            tls::serve(
                listener,
                tls,
                cloud.router(),
                Limits::default(),
                stop.clone(),
                TaskTracker::new(),
            )
        };
        tokio::spawn(serve(encrypted, Some(cloud.tls())));
        tokio::spawn(serve(plain, None));
        Self {
            cloud,
            tls_addr,
            plain_addr,
            _stop: stop.drop_guard(),
        }
    }

    /// A client of the plain port.
    pub(crate) async fn plain(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.plain_addr))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// A client of the TLS port, with an agent's certificate or without.
    pub(crate) async fn encrypted(&self, identity: Option<&Identity>) -> Result<Channel, tonic::transport::Error> {
        self.bound(identity).await.map(|(channel, _)| channel)
    }

    /// The same, with what only the two ends of the connection know.
    pub(crate) async fn bound(
        &self,
        identity: Option<&Identity>,
    ) -> Result<(Channel, ChannelBinding), tonic::transport::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.cloud.authority.server_root().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let addr = self.tls_addr;
        let binding = Arc::new(Mutex::new(ChannelBinding([0; 32])));
        let made = Arc::clone(&binding);
        let connect = tower::service_fn(move |_: http::Uri| {
            let (connector, made) = (connector.clone(), Arc::clone(&made));
            async move {
                let tcp = tokio::net::TcpStream::connect(addr).await?;
                let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
                let stream = connector.connect(name, tcp).await?;
                let (_, session) = stream.get_ref();
                let secret = session.export_keying_material([0; 32], EXPORTER_LABEL, None);
                *made.lock().unwrap() = ChannelBinding(secret.unwrap());
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(connect)
            .await?;
        let binding = *binding.lock().unwrap();
        Ok((channel, binding))
    }

    /// Puts an API token into the store and returns its secret.
    pub(crate) async fn token(&self, role: Role, expires_in: Duration) -> (TokenId, String) {
        let text = secret::with_prefix(secret::TOKEN_PREFIX).unwrap();
        let now = UnixMicros::now();
        let id = TokenId::new();
        let token = Token {
            id,
            name: format!("{role:?}-{id}"),
            secret_hash: secret::hash(&text).to_vec(),
            role,
            created_by: "test".to_owned(),
            created_at: now,
            expires_at: now.plus(expires_in),
            last_used_at: None,
            revoked: false,
        };
        self.cloud.store.token_insert(token, audit()).await.unwrap();
        (id, text)
    }

    /// Makes a join token; returns its id and its secret.
    pub(crate) async fn join_token(&self, request: pb::CreateJoinTokenRequest) -> (String, String) {
        let (_, admin) = self.token(Role::Admin, Duration::from_secs(60)).await;
        let mut client = pb::agent_service_client::AgentServiceClient::new(self.plain().await);
        let made = client
            .create_join_token(with_bearer(request, &admin))
            .await
            .unwrap()
            .into_inner();
        let mut parts = made.token.split('.');
        assert_eq!(parts.next(), Some("olj1"));
        assert_eq!(parts.next(), Some(self.cloud.authority.server_root_sha256().as_str()));
        (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
    }

    /// Joins a new agent of this name.
    pub(crate) async fn join(&self, name: &str) -> Identity {
        let (id, text) = self.join_token(pb::CreateJoinTokenRequest::default()).await;
        let (request, key) = join_request(&id, &text, name);
        let mut client = pb::enrollment_service_client::EnrollmentServiceClient::new(self.plain().await);
        let joined = client.join(request).await.unwrap().into_inner();
        Identity {
            id: joined.agent_id.parse().unwrap(),
            chain: joined
                .certificate_chain_der
                .iter()
                .map(|der| CertificateDer::from(der.to_vec()))
                .collect(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }
}

/// What an agent has after joining.
pub(crate) struct Identity {
    pub(crate) id: AgentId,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// What an agent sends to join, and the key behind it.
pub(crate) fn join_request(token_id: &str, token_secret: &str, name: &str) -> (pb::JoinRequest, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let request = pb::JoinRequest {
        token_id: token_id.to_owned(),
        token_secret: token_secret.to_owned(),
        csr_der: csr.der().to_vec().into(),
        agent_name: name.to_owned(),
    };
    (request, key)
}

/// An audit row of nobody.
pub(crate) fn audit() -> Audit {
    Audit {
        time: UnixMicros::now(),
        actor: "test".to_owned(),
        actor_role: None,
        action: "test",
        resource: "test".to_owned(),
        detail: String::new(),
        peer: String::new(),
    }
}

/// Adds a bearer secret.
pub(crate) fn with_bearer<T>(message: T, secret: &str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {secret}").parse().unwrap());
    request
}

/// The reason of an error; `none` for a status that is not ours.
pub(crate) fn reason(status: &Status) -> String {
    status
        .get_error_details()
        .error_info()
        .map_or_else(|| "none".to_owned(), |info| info.reason.clone())
}
