use futures::FutureExt;

use super::*;

fn chunk(first_seq: u64, size: usize) -> Item {
    let chunk = pb::LogChunk {
        first_seq,
        payload: vec![0; size].into(),
        ..Default::default()
    };
    Item::Chunk(Arc::new(LiveChunk {
        agent_id: AgentId::new(),
        attempt_id: AttemptId::new(),
        chunk,
    }))
}

fn seqs(taken: Taken) -> Vec<u64> {
    let Taken::Items(items) = taken else { panic!("behind") };
    items
        .iter()
        .map(|item| {
            if let Item::Chunk(live) = item {
                live.chunk.first_seq
            } else {
                panic!()
            }
        })
        .collect()
}

#[test]
fn every_reader_sees_everything_from_its_beginning_on() {
    let (tails, task) = (Tails::default(), TaskId::new());
    tails.publish(task, || panic!("nobody watches"));
    let mut early = tails.subscribe(task);
    tails.publish(task, || chunk(0, 1));
    let mut late = tails.subscribe(task);
    tails.publish(task, || chunk(1, 1));
    assert_eq!(seqs(early.take()), [0, 1]);
    assert_eq!(seqs(late.take()), [1]);
    assert!(seqs(late.take()).is_empty());
}

#[test]
fn a_reader_takes_few_bytes_at_once_and_leaves_nothing_out() {
    let (tails, task) = (Tails::default(), TaskId::new());
    let mut tail = tails.subscribe(task);
    for seq in 0..5 {
        tails.publish(task, || chunk(seq, TAKE_BYTES / 2));
    }
    tails.publish(task, || chunk(5, 2 * TAKE_BYTES));
    assert_eq!(seqs(tail.take()), [0, 1]);
    assert_eq!(seqs(tail.take()), [2, 3]);
    assert_eq!(seqs(tail.take()), [4, 5]);
    assert!(seqs(tail.take()).is_empty());
}

#[test]
fn a_slow_reader_is_told_and_stands_at_the_newest() {
    let (tails, task) = (Tails::default(), TaskId::new());
    let mut slow = tails.subscribe(task);
    for seq in 0..40 {
        tails.publish(task, || chunk(seq, RING_BYTES / 16));
    }
    assert!(matches!(slow.take(), Taken::Behind));
    assert!(seqs(slow.take()).is_empty());
    tails.publish(task, || chunk(40, 1));
    assert_eq!(seqs(slow.take()), [40]);
}

fn held(tails: &Tails) -> usize {
    tails.0.by_task.iter().map(|hub| hub.lock().bytes).sum()
}

/// Each watch of a busy task kept 16 MiB for as long as it lasted, although it had taken all of it.
#[test]
fn what_all_readers_have_taken_is_kept_by_nobody() {
    let (tails, task) = (Tails::default(), TaskId::new());
    let (mut fast, mut slow) = (tails.subscribe(task), tails.subscribe(task));
    for seq in 0..10 {
        tails.publish(task, || chunk(seq, TAKE_BYTES));
        assert_eq!(seqs(fast.take()), [seq]);
    }
    assert!(held(&tails) >= 10 * TAKE_BYTES, "the slow one has taken nothing");
    for seq in 0..5 {
        assert_eq!(seqs(slow.take()), [seq]);
    }
    assert!(held(&tails) < 6 * TAKE_BYTES);
    drop(slow);
    assert_eq!(held(&tails), 0);
    assert!(seqs(fast.take()).is_empty());
}

#[test]
fn readers_that_take_nothing_share_what_there_is() {
    let tails = Tails::default();
    let tasks: Vec<TaskId> = (0..40).map(|_| TaskId::new()).collect();
    let mut stalled = Vec::new();
    for task in &tasks {
        stalled.push(tails.subscribe(*task));
        for seq in 0..320 {
            tails.publish(*task, || chunk(seq, 64 << 10));
        }
        assert!(held(&tails) <= ALL_BYTES, "{}", held(&tails));
    }
    assert!(held(&tails) > ALL_BYTES / 2);
    stalled.truncate(1);
    for seq in 320..400 {
        tails.publish(tasks[0], || chunk(seq, 256 << 10));
    }
    assert!(
        held(&tails) > RING_BYTES - (1 << 20),
        "alone it has its whole ring again"
    );
    assert!(matches!(stalled[0].take(), Taken::Behind));
}

#[test]
fn a_reader_is_woken_once_there_is_something() {
    let (tails, task) = (Tails::default(), TaskId::new());
    let mut tail = tails.subscribe(task);
    assert!(tail.changed().now_or_never().is_none());
    tails.publish(task, || chunk(0, 1));
    assert!(tail.changed().now_or_never().is_some());
    tail.take();
    assert!(tail.changed().now_or_never().is_none());
}

#[test]
fn the_hub_goes_with_its_last_reader() {
    let (tails, task) = (Tails::default(), TaskId::new());
    let (one, two) = (tails.subscribe(task), tails.subscribe(task));
    drop(one);
    assert!(tails.is_watched(task));
    drop(two);
    assert!(!tails.is_watched(task));
}
