//! What a gate asks again of a stream that lives.

use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{CertificateParams, KeyPair};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::memory::MemoryStore;

#[tokio::test]
async fn the_certificate_of_a_stream_is_read_once_and_its_agent_is_asked_for_each_time() {
    let store = Store::from(MemoryStore::new());
    let authority = Arc::new(Authority::load(&store).await.unwrap());
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let agent = AgentId::new();
    let issued = authority.issue_agent(agent, request.der(), SystemTime::now()).unwrap();
    let mut extensions = Extensions::new();
    extensions.insert(PeerInfo {
        addr: "127.0.0.1:1".parse().unwrap(),
        certificate: Some(issued.chain[0].to_vec().into()),
        tls: true,
        channel: None,
    });
    let is_removed = Arc::new(AtomicBool::new(false));
    let removed = Arc::clone(&is_removed);
    let is_living: IsLiving = Arc::new(move |id| id == agent && !removed.load(Ordering::SeqCst));
    let trail = Trail::start(store.clone(), CancellationToken::new());
    let gate = Gate::new(store, authority, trail, is_living);

    let mut shown = Shown::of(&HeaderMap::new(), &extensions);
    gate.still(Rpc::Attach, &shown).await.expect("it is let in");
    // Whoever reads it once more finds nothing that could be read.
    shown.peer.as_mut().unwrap().certificate = Some(bytes::Bytes::from_static(b"none"));
    for _ in 0..3 {
        gate.still(Rpc::Attach, &shown).await.expect("it is known who it is");
    }
    is_removed.store(true, Ordering::SeqCst);
    let refused = gate.still(Rpc::Attach, &shown).await.unwrap_err();
    assert_eq!(refused.reason, Reason::CertificateRevoked);
}
