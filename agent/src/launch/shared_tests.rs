//! Journals that cannot be closed.

use opslink::event::EventBody;

use super::*;
use crate::{journal::AttemptWriter, policy::Permit};

/// An attempt whose runner works and is not heard: this process holds its lock.
fn silent(attempts: &std::path::Path) -> (Arc<Shared>, AttemptDir, AttemptWriter) {
    let envelope = pb::SignedEnvelope::default();
    let dir = AttemptDir::create(attempts, AttemptId::new(), &envelope, &Permit::default()).unwrap();
    let (writer, _) = dir.writer().unwrap();
    let here = BTreeMap::from([(dir.id(), Slot::new(dir.clone(), Phase::Running, 0))]);
    let shared = Shared::new(attempts.to_owned(), here, Fence::in_memory());
    (Arc::new(shared), dir, writer)
}

/// What cannot be opened, as when no descriptor is free or the disk does not answer.
fn hide(dir: &AttemptDir) {
    std::fs::rename(dir.path().join("state"), dir.path().join("hidden")).unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
}

fn show(dir: &AttemptDir) {
    std::fs::remove_dir(dir.path().join("state")).unwrap();
    std::fs::rename(dir.path().join("hidden"), dir.path().join("state")).unwrap();
}

fn phase(shared: &Shared, id: AttemptId) -> Phase {
    shared.slots().here.get(&id).unwrap().phase
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_cannot_be_looked_for_is_not_taken_for_gone() {
    let attempts = tempfile::tempdir().unwrap();
    let (shared, dir, writer) = silent(attempts.path());
    hide(&dir);
    Shared::watch(&shared, dir.id());
    tokio::time::sleep(4 * GIVE_UP_AFTER).await;
    assert_eq!(phase(&shared, dir.id()), Phase::Running);
    show(&dir);
    tokio::time::sleep(4 * GIVE_UP_AFTER).await;
    assert_eq!(phase(&shared, dir.id()), Phase::Running, "its lock is held");
    drop(writer);
    assert_eq!(shared.notices.take().await, [(dir.id(), Phase::Ended)]);
    assert!(dir.record().unwrap().outcome.is_some(), "its end is in its journal");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_runner_that_was_heard_to_end_is_told_though_its_journal_takes_none() {
    let attempts = tempfile::tempdir().unwrap();
    let (shared, dir, writer) = silent(attempts.path());
    hide(&dir);
    drop(writer);
    let begun = Instant::now();
    Shared::runner_ended(&shared, dir.id(), false);
    assert_eq!(shared.notices.take().await, [(dir.id(), Phase::Ended)]);
    assert!(begun.elapsed() >= GIVE_UP_AFTER, "a disk may come back");
    let end = shared
        .slots()
        .here
        .get_mut(&dir.id())
        .unwrap()
        .read(0)
        .unwrap()
        .unwrap();
    let events = opslink::chunk::decode(&end).unwrap();
    assert!(matches!(&events[0].body, EventBody::End(outcome) if outcome.reason == "RUNNER_LOST"));
}
