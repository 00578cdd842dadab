//! Joining: a token in, an identity out.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};

use opslink::{locale::Language, pb, problem::Problem, reason::Reason, time::UnixMicros};
use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::{
    config::StateDir,
    connections,
    dial::{self, Address, Connect},
    facts,
    identity::{FreshKey, Identity, write_atomically},
    policy, tls,
};

/// What a token is made of: `olj1.<CA sha256>.<id>.<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the cloud's CA certificate.
    pub ca_sha256: [u8; 32],
    /// Its public part.
    pub id: String,
    /// Its secret part.
    secret: String,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl JoinToken {
    /// Reads a token. What is wrong with it is not told: a half-pasted secret shall not end up in a log.
    ///
    /// # Errors
    /// `JOIN_TOKEN_MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let malformed = || Problem::new(Reason::JoinTokenMalformed);
        let mut parts = text.trim().split('.');
        let (Some("olj1"), Some(ca), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let mut ca_sha256 = [0; 32];
        hex::decode_to_slice(ca, &mut ca_sha256).map_err(|_| malformed())?;
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !plain(id) || !plain(secret) {
            return Err(malformed());
        }
        Ok(Self {
            ca_sha256,
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

/// Longest line that [`read_token`] reads, in bytes; a token has about 150.
const TOKEN_LINE_MAX: u64 = 4_096;

/// Reads a token: the first line of a file, or of stdin for `-`. Neither can be read by everybody on this machine, as a
/// command line can.
///
/// # Errors
/// `CONFIG_INVALID` when nothing can be read there.
pub fn read_token(file: &Path) -> Result<String, Problem> {
    let read = || -> io::Result<String> {
        let source: Box<dyn Read> = if file == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(file)?)
        };
        let mut line = String::new();
        BufReader::new(source.take(TOKEN_LINE_MAX)).read_line(&mut line)?;
        Ok(line)
    };
    read().map_err(|error| {
        Problem::new(Reason::ConfigInvalid)
            .with("setting", "--token-file")
            .with("detail", format!("{}: {error}", file.display()))
    })
}

/// What a join needs to know.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// `https://host:port`.
    pub url: String,
    /// The token's text.
    pub token: String,
    /// Wished name; the host's own when absent. The token's name wins.
    pub name: Option<String>,
}

/// Joins and writes identity, policy and connections into the state folder.
///
/// # Errors
/// The three lines for people are in the problem. Nothing is written unless the cloud said yes.
pub async fn join(options: &JoinOptions, state: &StateDir, connect: &dyn Connect) -> Result<Identity, Problem> {
    if let Ok(existing) = Identity::load(&state.identity()) {
        let path = state.path().display();
        return Err(Problem::new(Reason::AlreadyJoined)
            .with("path", path)
            .with("name", existing.agent_name));
    }
    state.prepare().map_err(|error| unwritable(state, &error))?;
    let identity = enroll(options, connect).await?;
    identity
        .save(&state.identity())
        .map_err(|error| unwritable(state, &error))?;
    for (path, text) in [
        (state.policy(), policy::template()),
        (state.connections(), connections::TEMPLATE.to_owned()),
    ] {
        write_unless_there(&path, &text).map_err(|error| unwritable(state, &error))?;
    }
    Ok(identity)
}

/// Gets an identity without writing anything.
///
/// # Errors
/// As [`join`].
pub async fn enroll(options: &JoinOptions, connect: &dyn Connect) -> Result<Identity, Problem> {
    let token = JoinToken::parse(&options.token)?;
    let address = Address::parse(&options.url).map_err(|error| {
        Problem::new(Reason::ConfigInvalid)
            .with("setting", "URL")
            .with("detail", dial::chain_text(&error))
    })?;
    let unreachable = |error: dial::Error| dial_problem(&address, &error);
    let tls = pinned_tls(token.ca_sha256).map_err(unreachable)?;
    // The handshake checks the CA: a stranger never sees the secret.
    let channel = dial::dial(connect, &address, tls).await.map_err(unreachable)?;
    enroll_over(
        channel,
        &address,
        &token,
        options.name.clone().unwrap_or_else(facts::hostname),
    )
    .await
}

/// TLS settings that accept only a server whose chain ends in the CA with this hash.
///
/// # Errors
/// As [`tls::one_way_tls`].
pub fn pinned_tls(ca_sha256: [u8; 32]) -> Result<Arc<rustls::ClientConfig>, dial::Error> {
    tls::one_way_tls(Arc::new(PinnedCa { sha256: ca_sha256 }))
}

/// Gets an identity over a channel whose CA was checked.
pub(crate) async fn enroll_over(
    channel: Channel,
    address: &Address,
    token: &JoinToken,
    agent_name: String,
) -> Result<Identity, Problem> {
    let key = FreshKey::generate().map_err(|error| Problem::new(Reason::Internal).with("detail", error))?;
    let request = pb::JoinRequest {
        token_id: token.id.clone(),
        token_secret: token.secret.clone(),
        csr_der: key.csr_der.clone().into(),
        agent_name,
    };
    let answer = pb::enrollment_service_client::EnrollmentServiceClient::new(channel)
        .join(request)
        .await
        .map_err(|status| status_problem(address, &status))?;
    Identity::from_join(address.url(), key, answer.into_inner())
        .map_err(|error| Problem::new(Reason::Internal).with("detail", error))
}

/// Removes what a join made, and the journal. The agent must not be running.
///
/// # Errors
/// Those of the disk.
pub fn reset(state: &StateDir) -> Result<(), Problem> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(state, &error)),
        _ => Ok(()),
    };
    gone(std::fs::remove_file(state.identity()))?;
    gone(std::fs::remove_dir_all(state.attempts()))?;
    gone(std::fs::remove_file(state.fence()))?;
    gone(std::fs::remove_file(state.fence().with_extension("damaged")))?;
    gone(std::fs::remove_file(state.socket()))
}

fn write_unless_there(path: &Path, text: &str) -> io::Result<()> {
    if path.exists() {
        Ok(())
    } else {
        write_atomically(path, text.as_bytes())
    }
}

/// Returns the command that runs the agent on this state folder.
pub fn start_line(state: &StateDir) -> String {
    if *state == StateDir::default_for_user() {
        return "opslink-agent run".to_owned();
    }
    let dir = state.path().display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if dir.chars().all(is_plain) {
        format!("opslink-agent run --state {dir}")
    } else {
        format!("opslink-agent run --state '{}'", dir.replace('\'', r"'\''"))
    }
}

fn unwritable(state: &StateDir, error: &(dyn std::error::Error + 'static)) -> Problem {
    Problem::new(Reason::StateFolderUnusable)
        .with("path", state.path().display())
        .with("detail", dial::chain_text(error))
}

/// A dialing error as people see it.
pub fn dial_problem(address: &Address, error: &dial::Error) -> Problem {
    if let Some(mismatch) = dial::tls_cause(error).and_then(ca_mismatch) {
        return Problem::new(Reason::CaMismatch)
            .with("url", address.url())
            .with("expected", hex::encode(mismatch.expected))
            .with("found", mismatch.found.map_or_else(|| "-".to_owned(), hex::encode));
    }
    if dial::is_revoked(error) {
        return Problem::new(Reason::CertificateRevoked);
    }
    if let Some(detail) = dial::tls_cause(error).and_then(clock_detail) {
        return Problem::new(Reason::ClockWrong).with("detail", detail);
    }
    // The first line names the address already.
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), dial::chain_text);
    Problem::new(Reason::ServerUnreachable)
        .with("url", address.url())
        .with("detail", cause)
}

/// The cloud makes its certificate anew at its start and at half of its life: one that is not valid now means clocks.
fn clock_detail(error: &rustls::Error) -> Option<String> {
    let shown = |time: UnixTime| UnixMicros(0).plus(Duration::from_secs(time.as_secs()));
    match error {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => Some(format!(
            "the cloud's certificate ends at {}, and this machine's clock says {}",
            shown(*not_after),
            shown(*time)
        )),
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => Some(format!(
            "the cloud's certificate begins at {}, and this machine's clock says {}",
            shown(*not_before),
            shown(*time)
        )),
        _ => None,
    }
}

/// The cloud's refusal as people see it: its own reason where it has one.
pub fn status_problem(address: &Address, status: &tonic::Status) -> Problem {
    let known = status.get_details_error_info().and_then(|info| {
        let reason = Reason::from_code(&info.reason)?;
        Some(
            info.metadata
                .into_iter()
                .fold(Problem::new(reason), |problem, (name, value)| problem.with(name, value)),
        )
    });
    known.unwrap_or_else(|| {
        let detail = format!("{:?}: {}", status.code(), status.message());
        Problem::new(Reason::ServerUnreachable)
            .with("url", address.url())
            .with("detail", detail)
    })
}

/// A problem as it is printed, in the language of the terminal.
pub fn report(problem: &Problem) -> String {
    problem.report(Language::of_environment(|name| std::env::var(name).ok()))
}

/// The server's chain does not hold the CA of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CaMismatch {
    expected: [u8; 32],
    found: Option<[u8; 32]>,
}

impl fmt::Display for CaMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's certificate comes from another authority than the join token names")
    }
}

impl std::error::Error for CaMismatch {}

fn ca_mismatch(error: &rustls::Error) -> Option<&CaMismatch> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

/// Accepts a server whose chain holds the CA with this hash, and is valid under it for the name that was dialed.
#[derive(Debug)]
struct PinnedCa {
    sha256: [u8; 32],
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, der).as_ref());
    out
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(ca) = intermediates.iter().find(|der| sha256(der) == self.sha256) else {
            let found = intermediates.last().map(|der| sha256(der));
            let mismatch = CaMismatch {
                expected: self.sha256,
                found,
            };
            return Err(CertificateError::Other(rustls::OtherError(Arc::new(mismatch))).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &tls::provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &tls::provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
