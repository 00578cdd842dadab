//! A copied key: a certificate that was replaced and is still used, renewals without end, and a quarantine that a restart
//! does not end.

use std::sync::Arc;

use futures::{StreamExt, stream};
use opslink::{pb, time::UnixMicros};
use opslink_cloud::{
    authz::Rpc,
    store::{Store, memory::MemoryStore},
};
use pb::link_service_client::LinkServiceClient;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::time::timeout;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::harness::{Edge, Identity, LIMIT, join_request, reason};

/// Comes with this certificate; returns the link after its welcome.
async fn come(edge: &Edge, identity: &Identity, nonce: &str) -> Result<Streaming<pb::AttachResponse>, Status> {
    let channel = edge.encrypted(Some(identity)).await.unwrap();
    let hello = pb::Hello {
        min_version: 1,
        max_version: 1,
        process_nonce: nonce.to_owned(),
        ..Default::default()
    };
    let hello = pb::AttachRequest {
        frame: Some(pb::attach_request::Frame::Hello(hello)),
    };
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let frames = stream::iter([hello]).chain(stream::pending());
    let codec = ProstCodec::<pb::AttachRequest, pb::AttachResponse>::default();
    let path = Rpc::Attach.path().parse().unwrap();
    let called = timeout(LIMIT, grpc.streaming(Request::new(frames), path, codec));
    let mut link = called.await.expect("an answer in time")?.into_inner();
    timeout(LIMIT, link.message()).await.expect("a welcome in time")?;
    Ok(link)
}

/// Asks for the next certificate with this one.
async fn renew(edge: &Edge, identity: &Identity) -> Result<Identity, Status> {
    let (request, key) = join_request("", "", "");
    let mut client = LinkServiceClient::new(edge.encrypted(Some(identity)).await.unwrap());
    let request = pb::RenewCertificateRequest {
        csr_der: request.csr_der,
    };
    let answer = client.renew_certificate(request).await?.into_inner();
    let chain = answer.certificate_chain_der.iter();
    Ok(Identity {
        id: identity.id,
        chain: chain.map(|der| CertificateDer::from(der.to_vec())).collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    })
}

async fn rows(store: &Store, action: &str) -> usize {
    let rows = store.audit_list(None, 1_000).await.unwrap();
    rows.iter().filter(|row| row.action == action).count()
}

/// G10: nothing told that a second line of certificates came from one key.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_renews_for_itself_is_found_and_a_restart_does_not_let_it_in() {
    let store = Store::from(MemoryStore::new());
    let edge = Edge::over(store.clone()).await;
    let original = edge.join("copied").await;
    let _link = come(&edge, &original, "original").await.unwrap();
    let renewed = renew(&edge, &original).await.unwrap();
    let _link = come(&edge, &renewed, "original").await.unwrap();
    assert_eq!(rows(&store, "agent.quarantine").await, 0);

    // Whoever has the old key asks for a line of its own.
    let refused = renew(&edge, &original).await.map(drop).unwrap_err();
    assert_eq!(reason(&refused), "AGENT_CLONED");
    assert_eq!(rows(&store, "agent.quarantine").await, 1);
    for identity in [&original, &renewed] {
        let refused = come(&edge, identity, "original").await.map(drop).unwrap_err();
        assert_eq!(reason(&refused), "AGENT_CLONED");
    }
    let kept_out = store.quarantine_get(original.id, UnixMicros::now()).await.unwrap();
    assert!(kept_out.is_some());

    drop(edge);
    let again = Edge::over(store.clone()).await;
    let refused = come(&again, &renewed, "original").await.map(drop).unwrap_err();
    assert_eq!(reason(&refused), "AGENT_CLONED", "also after a restart");
}

/// An empty nonce was taken for a single process, however often it came beside another.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_says_nothing_of_itself_is_found() {
    let edge = Edge::memory().await;
    let agent = edge.join("copied").await;
    let mut refused = Vec::new();
    for nonce in ["original", "", "original", ""] {
        refused.push(
            come(&edge, &agent, nonce)
                .await
                .map(drop)
                .map_err(|status| reason(&status)),
        );
    }
    assert_eq!(refused[..3], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(refused[3], Err("AGENT_CLONED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_have_a_limit_and_rows() {
    let store = Store::from(MemoryStore::new());
    let edge = Edge::over(store.clone()).await;
    let agent = edge.join("greedy").await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(renew(&edge, &agent).await.map(drop).map_err(|status| reason(&status)));
    }
    assert!(answers[..8].iter().all(Result::is_ok), "{answers:?}");
    assert!(
        answers[8..]
            .iter()
            .all(|answer| *answer == Err("OVERLOADED".to_owned()))
    );
    let edge = Arc::new(edge);
    timeout(LIMIT, async {
        while rows(&store, "agent.renew").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a row");
    drop(edge);
}
