//! A client of the API that dials again when it has to, and that may go away in the middle of a call.

use std::{sync::Arc, time::Duration};

use opslink_agent::dial::{self, Address};
use rustls::pki_types::CertificateDer;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Response, Status, transport::Channel};

use crate::net::{CLOUD, Dialer, Meter, PORT};

/// Longest wait for an answer; the cloud may be dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);

/// See the module.
pub(crate) struct Api {
    dialer: Dialer,
    tls: Arc<rustls::ClientConfig>,
    token: String,
    pause: Duration,
    channel: Option<Channel>,
}

/// What one try brought.
pub(crate) enum Tried<R> {
    /// An answer.
    Answer(R),
    /// 'No', and trying again is no use.
    Refused(Status),
    /// Try again.
    Again,
    /// The caller went away in the middle of it.
    Vanished,
}

impl Api {
    /// Makes one for a host, which trusts this root.
    pub(crate) fn new(host: &str, meter: Meter, root: &CertificateDer<'static>, token: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.clone()).expect("the root is a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is known")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let dialer = Dialer {
            host: host.to_owned(),
            meter,
        };
        Self {
            dialer,
            tls: Arc::new(tls),
            token: format!("Bearer {token}"),
            pause: PAUSE,
            channel: None,
        }
    }

    /// Waits a little longer than others between two tries. When the cloud dies, all its connections end in the same
    /// moment, in no order that a seed decides: with pauses of their own, people come back in one that it does.
    pub(crate) fn in_turn(mut self, number: usize) -> Self {
        self.pause += Duration::from_millis(3 * number as u64);
        self
    }

    /// Does a call once. With a time after which the caller vanishes: it drops the call then, answered or not.
    pub(crate) async fn once<T, R, F, Fut>(&mut self, message: &T, vanishes: Option<Duration>, call: F) -> Tried<R>
    where
        T: Clone,
        F: Fn(Channel, Request<T>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let Some(channel) = self.channel().await else {
            sleep(self.pause).await;
            return Tried::Again;
        };
        let mut request = Request::new(message.clone());
        let token = self.token.parse().expect("the token is ASCII");
        request.metadata_mut().insert("authorization", token);
        match timeout(vanishes.unwrap_or(ANSWER_WITHIN), call(channel, request)).await {
            Ok(Ok(response)) => Tried::Answer(response.into_inner()),
            Ok(Err(status)) if !is_passing(&status) => Tried::Refused(status),
            Err(_) if vanishes.is_some() => Tried::Vanished,
            Ok(Err(_)) | Err(_) => {
                self.hang_up();
                sleep(self.pause).await;
                Tried::Again
            }
        }
    }

    /// Does a call until it is answered by more than 'try again'.
    ///
    /// # Errors
    /// What the cloud says when it refuses.
    pub(crate) async fn call<T, R, F, Fut>(&mut self, message: &T, call: F) -> Result<R, Status>
    where
        T: Clone,
        F: Fn(Channel, Request<T>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        loop {
            match self.once(message, None, &call).await {
                Tried::Answer(answer) => return Ok(answer),
                Tried::Refused(status) => return Err(status),
                Tried::Again | Tried::Vanished => {}
            }
        }
    }

    /// Leaves the connection.
    pub(crate) fn hang_up(&mut self) {
        self.channel = None;
    }

    async fn channel(&mut self) -> Option<Channel> {
        if self.channel.is_none() {
            let address = Address {
                host: CLOUD.into(),
                port: PORT,
            };
            let dialed = timeout(ANSWER_WITHIN, dial::dial(&self.dialer, &address, self.tls.clone())).await;
            self.channel = dialed.ok().and_then(Result::ok);
        }
        self.channel.clone()
    }
}

/// Says whether the answer is about the connection or the moment, not about the call.
pub(crate) fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Internal
    )
}

/// The reason that a refusal gives, for programs.
pub(crate) fn reason_of(status: &Status) -> String {
    use tonic_types::StatusExt;
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    reason.unwrap_or_else(|| format!("{:?}: {}", status.code(), status.message()))
}
