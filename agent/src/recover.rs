//! Coming back after the certificate has expired: the agent was off, or its cloud was, for longer than it lives.
//!
//! No join token is needed. The agent still knows its cloud (the roots in its identity) and still has its key; it
//! proves that on a connection where it shows no certificate, and gets the next one. The cloud decides how long after
//! the end that works. See `opslink::renewal` for what is signed.

use std::{sync::Arc, time::Duration};

use opslink::{
    pb::{RenewCertificateResponse, RenewExpiredRequest, enrollment_service_client::EnrollmentServiceClient},
    problem::Problem,
    reason::Reason,
    renewal::signing_input,
};
use tokio::time::timeout;

use crate::{
    dial::{self, Address, Connect},
    identity::{self, FreshKey, Identity},
    join::{dial_problem, status_problem},
    tls,
};

/// Longest wait for the cloud's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Gets the next certificate for an identity whose certificate has expired.
///
/// # Errors
/// Why not, as the operator has to know it.
///
/// # Cancel
/// Dropping the future closes the connection; the expired certificate is as good as before.
pub(crate) async fn renew_expired(
    connect: &Arc<dyn Connect>,
    address: &Address,
    identity: &Identity,
) -> Result<Identity, Problem> {
    let unreachable = |error: dial::Error| dial_problem(address, &error);
    let tls = tls::server_only_tls(identity).map_err(unreachable)?;
    let (channel, binding) = dial::dial_bound(&**connect, address, tls).await.map_err(unreachable)?;
    // A new key: the old one has been in use for long enough.
    let key = FreshKey::generate().map_err(internal)?;
    let signature = identity
        .sign(&signing_input(&binding, &key.csr_der))
        .map_err(internal)?;
    let certificate = identity.certificate_chain.first().cloned().unwrap_or_default();
    let request = RenewExpiredRequest {
        certificate_der: certificate.into(),
        csr_der: key.csr_der.clone().into(),
        signature: signature.into(),
    };
    let mut client = EnrollmentServiceClient::new(channel);
    let answer = timeout(ANSWER_WITHIN, client.renew_expired(request))
        .await
        .map_err(|_| dial_problem(address, &dial::Error::Silent(address.url())))?
        .map_err(|status| status_problem(address, &status))?
        .into_inner();
    let answer = RenewCertificateResponse {
        certificate_chain_der: answer.certificate_chain_der,
        ca_der: answer.ca_der,
    };
    identity.renewed(key, answer).map_err(internal)
}

/// Says whether asking again soon is of no use: only an operator can help, here or at the cloud.
pub(crate) fn is_final(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::RenewalWindowPassed
            | Reason::CertificateSuperseded
            | Reason::RenewalProofInvalid
            | Reason::Unimplemented
    )
}

fn internal(error: identity::Error) -> Problem {
    Problem::new(Reason::Internal).with("detail", dial::chain_text(&error))
}
