//! Recovery after every kind of torn, flipped and missing byte.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use opslink::event::EventBody;

use crate::policy::Permit;

use super::{
    super::{attempt::AttemptWriter, record::Process, segments},
    *,
};

fn attempt(root: &Path) -> AttemptDir {
    AttemptDir::create(
        root,
        AttemptId::new(),
        &pb::SignedEnvelope::default(),
        &Permit::default(),
    )
    .unwrap()
}

fn chunk(id: AttemptId, first_seq: u64, event_count: u32, outcome: Option<pb::Outcome>) -> pb::LogChunk {
    pb::LogChunk {
        attempt_id: id.to_string(),
        first_seq,
        event_count,
        line_count: 1,
        first_line: first_seq,
        payload: vec![first_seq as u8; 30].into(),
        outcome,
        ..Default::default()
    }
}

fn read_all(dir: &AttemptDir) -> Vec<pb::LogChunk> {
    let mut reader = dir.chunks().unwrap();
    std::iter::from_fn(|| reader.read().unwrap()).collect()
}

fn outcome_of(dir: &AttemptDir) -> pb::Outcome {
    read_all(dir).pop().unwrap().outcome.unwrap()
}

/// A folder with a started runner, three chunks and no end; its writer is gone.
fn orphan(root: &Path) -> AttemptDir {
    let dir = attempt(root);
    let (mut writer, _) = dir.writer().unwrap();
    writer.started(Process::current()).unwrap();
    for first_seq in [0, 2, 4] {
        writer.append_chunk(&chunk(dir.id(), first_seq, 2, None)).unwrap();
    }
    dir
}

fn copy_of(dir: &AttemptDir, root: &Path) -> AttemptDir {
    let path = root.join(dir.id().to_string());
    fs::create_dir(&path).unwrap();
    for name in ["state", "chunks"] {
        fs::copy(dir.path().join(name), path.join(name)).unwrap();
    }
    AttemptDir::open(&path).unwrap()
}

fn file(dir: &AttemptDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

#[test]
fn a_vanished_runner_is_reported_as_lost_after_what_it_had_written() {
    let root = tempfile::tempdir().unwrap();
    let dir = orphan(root.path());
    let found = recover(root.path(), |path, error| panic!("{path:?}: {error}")).unwrap();
    assert_eq!(
        found,
        [Recovered {
            dir: dir.clone(),
            next_seq: 7,
            recovery: Recovery::Ended
        }]
    );
    assert_eq!(outcome_of(&dir).reason, "RUNNER_LOST");
    assert_eq!(read_all(&dir).len(), 4);
    assert_eq!(read_all(&dir)[3].first_line, 5);
}

#[test]
fn an_attempt_that_never_started_in_this_boot_says_that_nothing_ran() {
    let root = tempfile::tempdir().unwrap();
    let dir = attempt(root.path());
    close_if_orphaned(&dir, Remnants::End).unwrap();
    assert_eq!(outcome_of(&dir).kind(), pb::OutcomeKind::Refused);
    assert_eq!(outcome_of(&dir).reason, "NOT_STARTED");
    let late = dir.writer().unwrap_err();
    assert_eq!(
        late.kind(),
        io::ErrorKind::AlreadyExists,
        "a runner that comes late must not run it"
    );
}

#[test]
fn an_attempt_of_an_earlier_boot_is_lost_even_without_a_started_record() {
    let root = tempfile::tempdir().unwrap();
    let dir = attempt(root.path());
    fs::write(file(&dir, "state"), b"").unwrap();
    close_if_orphaned(&dir, Remnants::End).unwrap();
    assert_eq!(outcome_of(&dir).kind(), pb::OutcomeKind::Lost);
    assert_eq!(outcome_of(&dir).reason, "HOST_REBOOTED");
}

#[test]
fn a_living_runner_keeps_its_attempt() {
    let root = tempfile::tempdir().unwrap();
    let dir = attempt(root.path());
    let (mut writer, _) = dir.writer().unwrap();
    writer.started(Process::current()).unwrap();
    assert_eq!(close_if_orphaned(&dir, Remnants::End).unwrap(), Closing::RunnerLives);
    assert_eq!(dir.writer().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(writer);
    assert!(matches!(
        close_if_orphaned(&dir, Remnants::End).unwrap(),
        Closing::Closed { next_seq: 1 }
    ));
}

#[test]
fn an_end_that_is_in_the_chunks_counts_even_if_the_state_does_not_have_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = attempt(root.path());
    let outcome = pb::Outcome {
        kind: pb::OutcomeKind::Failed.into(),
        exit_code: Some(9),
        ..Default::default()
    };
    let (mut writer, _) = dir.writer().unwrap();
    writer.started(Process::current()).unwrap();
    writer
        .append_chunk(&chunk(dir.id(), 0, 1, Some(outcome.clone())))
        .unwrap();
    drop(writer);
    assert_eq!(
        close_if_orphaned(&dir, Remnants::End).unwrap(),
        Closing::Closed { next_seq: 1 }
    );
    assert_eq!(outcome_of(&dir), outcome);
    assert_eq!(dir.record().unwrap().outcome, Some(outcome));
}

#[test]
fn every_truncation_of_the_chunks_recovers_the_whole_chunks_before_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = orphan(root.path());
    let whole = read_all(&dir);
    let mut reader = dir.chunks().unwrap();
    let ends: Vec<u64> = std::iter::from_fn(|| reader.read().unwrap().map(|_| reader.offset())).collect();
    for cut in 0..=fs::metadata(file(&dir, "chunks")).unwrap().len() {
        let root = tempfile::tempdir().unwrap();
        let copy = copy_of(&dir, root.path());
        fs::OpenOptions::new()
            .write(true)
            .open(file(&copy, "chunks"))
            .unwrap()
            .set_len(cut)
            .unwrap();
        close_if_orphaned(&copy, Remnants::End).unwrap();
        let read = read_all(&copy);
        let kept = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(read.len(), kept + 1, "cut at {cut}");
        assert_eq!(read[..kept], whole[..kept], "cut at {cut}");
        assert_eq!(read[kept].outcome.as_ref().unwrap().reason, "RUNNER_LOST");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_leaves_a_valid_prefix_and_an_end(at in any::<prop::sample::Index>(), bit in 0..8u8, in_state in any::<bool>()) {
        let root = tempfile::tempdir().unwrap();
        let dir = orphan(root.path());
        let whole = read_all(&dir);
        let path = file(&dir, if in_state { "state" } else { "chunks" });
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();

        close_if_orphaned(&dir, Remnants::End).unwrap();
        let read = read_all(&dir);
        let (end, kept) = read.split_last().unwrap();
        prop_assert!(end.outcome.is_some());
        prop_assert_eq!(kept, &whole[..kept.len()]);
        prop_assert!(in_state == (kept.len() == 3));
        prop_assert!(dir.record().unwrap().outcome.is_some());
    }
}

#[test]
fn a_reader_finds_any_event_going_forward_and_back() {
    let root = tempfile::tempdir().unwrap();
    let dir = orphan(root.path());
    let mut reader = dir.chunks().unwrap();
    for (seq, first) in [(0, 0), (5, 4), (2, 2), (3, 2), (0, 0), (4, 4)] {
        reader.seek(seq).unwrap();
        assert_eq!(reader.read().unwrap().unwrap().first_seq, first, "seeking {seq}");
    }
    reader.seek(6).unwrap();
    assert!(reader.read().unwrap().is_none());
}

/// Chunks of two events in segments that take only one chunk each.
fn segmented(root: &Path, chunks: u64) -> (AttemptDir, AttemptWriter) {
    let dir = attempt(root);
    let (mut writer, _) = dir.writer().unwrap();
    writer.started(Process::current()).unwrap();
    writer.set_segment_bytes(1);
    for number in 0..chunks {
        writer.append_chunk(&chunk(dir.id(), number * 2, 2, None)).unwrap();
    }
    (dir, writer)
}

fn first_seqs(dir: &AttemptDir) -> Vec<u64> {
    read_all(dir).iter().map(|chunk| chunk.first_seq).collect()
}

#[test]
fn segments_read_as_one_and_any_event_in_them_is_found() {
    let root = tempfile::tempdir().unwrap();
    let (dir, _writer) = segmented(root.path(), 5);
    assert_eq!(segments::list(dir.path()).unwrap(), [0, 2, 4, 6, 8]);
    assert_eq!(first_seqs(&dir), [0, 2, 4, 6, 8]);
    let mut reader = dir.chunks().unwrap();
    for (seq, first) in [(9, 8), (0, 0), (5, 4), (4, 4), (3, 2), (8, 8), (1, 0)] {
        reader.seek(seq).unwrap();
        assert_eq!(reader.read().unwrap().unwrap().first_seq, first, "seeking {seq}");
    }
}

#[test]
fn a_full_disk_gets_back_what_was_acknowledged_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut writer) = segmented(root.path(), 5);
    assert!(!writer.give_back(1, true).unwrap(), "not even one segment is whole");
    assert!(!writer.give_back(10, false).unwrap(), "there is room: it is kept");
    assert!(writer.give_back(5, true).unwrap());
    assert_eq!(first_seqs(&dir), [4, 6, 8]);
    assert!(writer.give_back(10, true).unwrap());
    assert_eq!(first_seqs(&dir), [8], "the last segment stays");
    writer.append_chunk(&chunk(dir.id(), 10, 2, None)).unwrap();
    assert_eq!(first_seqs(&dir), [8, 10]);
    // A reader that wants what is gone is told where it begins now.
    let mut reader = dir.chunks().unwrap();
    reader.seek(3).unwrap();
    assert_eq!(reader.next_seq(), 8);
    // And a runner that dies leaves an attempt that ends as any other.
    drop(writer);
    assert_eq!(
        close_if_orphaned(&dir, Remnants::End).unwrap(),
        Closing::Closed { next_seq: 13 }
    );
    assert_eq!(first_seqs(&dir), [8, 10, 12]);
}

#[test]
fn what_follows_a_damaged_segment_goes() {
    let root = tempfile::tempdir().unwrap();
    let (dir, writer) = segmented(root.path(), 4);
    drop(writer);
    let damaged = segments::path(dir.path(), 4);
    let length = fs::metadata(&damaged).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&damaged)
        .unwrap()
        .set_len(length - 1)
        .unwrap();
    assert_eq!(close_at_damage(&dir).unwrap(), Closing::Closed { next_seq: 5 });
    assert_eq!(first_seqs(&dir), [0, 2, 4]);
    assert_eq!(segments::list(dir.path()).unwrap(), [0, 2]);
    assert_eq!(outcome_of(&dir).reason, "RUNNER_LOST");
}

#[test]
fn lost_events_are_stood_for_by_as_many_without_content() {
    let id = AttemptId::new();
    let gap = gap_chunk(id, 10, 13, 7);
    let events = opslink::chunk::decode(&gap).unwrap();
    assert_eq!((gap.first_seq, gap.event_count, events.len()), (10, 3, 3));
    assert_eq!((gap.first_line, gap.line_count), (7, 0));
    assert!(matches!(&events[0].body, EventBody::Note(note) if note.reason == "OUTPUT_LOST"));
    let many = gap_chunk(id, 0, 1_000_000, 0);
    assert_eq!(
        opslink::chunk::decode(&many).unwrap().len(),
        many.event_count as usize,
        "the next chunk goes on"
    );
}

#[test]
fn creating_an_attempt_twice_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = attempt(root.path());
    let again = AttemptDir::create(
        root.path(),
        dir.id(),
        &pb::SignedEnvelope::default(),
        &Permit::default(),
    );
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(dir.path().join("state").exists());
}
