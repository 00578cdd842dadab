//! By which policy the reactor obeys: the one of the moment.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use opslink::{id::AgentId, pb::SignedEnvelope};

use super::*;
use crate::{executor, launch::InProcess, link::Arrival, policy_file::PolicyFile};

fn reactor(policy: Policy) -> Reactor<InProcess> {
    let launcher = InProcess::new(executor::all().into(), Arc::default());
    Reactor::new(Arc::new(launcher), Admission::new(AgentId::new(), &[], policy))
}

#[tokio::test]
async fn a_changed_policy_holds_at_once_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write("allow = []");
    let (mut file, policy) = PolicyFile::open(&path).unwrap();
    let mut reactor = reactor(policy).following(move || file.changed_usable());
    let mut allows = || reactor.admission().policy().allows_kind("shell");
    assert!(!allows());
    write("allow = [\"shell\"]");
    assert!(allows());
    write("allow = [\"shell\"");
    assert!(allows(), "the one before stays in force");
    write("allow = [ ]");
    assert!(!allows());
}

#[tokio::test]
async fn the_policy_of_the_moment_is_asked_for_before_each_task() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let policy = Policy::parse("allow = []", Path::new("policy.toml")).unwrap();
    let mut reactor = reactor(policy).following(move || {
        count.fetch_add(1, Ordering::Relaxed);
        None
    });
    let arrival = Arrival {
        at: Duration::ZERO,
        ttl: Duration::ZERO,
    };
    for _ in 0..2 {
        reactor.obey_one(Command::Admit(SignedEnvelope::default(), arrival));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}
