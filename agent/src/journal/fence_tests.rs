//! The fence across restarts, full disks and the files of earlier agents.

use opslink::id::TaskId;

use super::*;
use crate::journal::frame::framed;

const HOUR: i64 = 3600 * 1_000_000;

fn at(hours: i64) -> UnixMicros {
    UnixMicros(hours * HOUR)
}

fn holds(fence: &Fence, id: AttemptId) -> bool {
    fence.past(id, None).is_some()
}

fn place(task: TaskId, number: u32) -> Option<Place> {
    Some(Place { task, number })
}

#[test]
fn it_remembers_across_restarts_and_forgets_when_the_envelope_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let (short, long) = (AttemptId::new(), AttemptId::new());
    let mut fence = Fence::open(&path, at(0)).unwrap();
    for (id, dies) in [(short, at(1)), (long, at(48))] {
        fence.take(id, None, dies, at(0)).unwrap();
        fence.close(id, at(0)).unwrap();
    }

    let fence = Fence::open(&path, at(23)).unwrap();
    assert!(holds(&fence, short) && holds(&fence, long));
    let fence = Fence::open(&path, at(25)).unwrap();
    assert!(!holds(&fence, short) && holds(&fence, long));
}

#[test]
fn what_was_taken_and_not_closed_is_never_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let (open, closed) = (AttemptId::new(), AttemptId::new());
    let mut fence = Fence::open(&path, at(0)).unwrap();
    fence.take(open, None, at(1), at(0)).unwrap();
    fence.take(closed, None, at(1), at(0)).unwrap();
    fence.close(closed, at(0)).unwrap();

    let fence = Fence::open(&path, at(1_000)).unwrap();
    assert_eq!(fence.open_attempts().collect::<Vec<_>>(), [open]);
    assert!(!holds(&fence, closed));
}

#[test]
fn a_torn_tail_loses_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let (first, second) = (AttemptId::new(), AttemptId::new());
    let mut fence = Fence::open(&path, at(0)).unwrap();
    fence.take(first, None, at(0), at(0)).unwrap();
    fence.take(second, None, at(0), at(0)).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length - 1).unwrap();
    let mut fence = Fence::open(&path, at(0)).unwrap();
    assert!(holds(&fence, first) && !holds(&fence, second));
    // The tail was cut off: what comes next can be read.
    fence.take(second, None, at(0), at(0)).unwrap();
    assert!(holds(&Fence::open(&path, at(0)).unwrap(), second));
}

/// A full disk: nothing can be written, and what is there can be read and goes on.
#[test]
fn it_opens_and_closes_without_room_and_writes_down_later_what_it_owes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let (first, second) = (AttemptId::new(), AttemptId::new());
    let mut fence = Fence::open(&path, at(0)).unwrap();
    fence.take(first, None, at(0), at(0)).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    // A name that cannot be made stands for a disk without room for another file.
    fs::create_dir_all(path.with_extension("new").join("in the way")).unwrap();
    let mut fence = Fence::open(&path, at(0)).unwrap();
    assert_eq!(fence.open_attempts().collect::<Vec<_>>(), [first]);
    assert_eq!(fs::metadata(&path).unwrap().len(), length, "nothing was written");

    // And one that takes no more bytes.
    let log = fence.log.as_mut().unwrap();
    let good = std::mem::replace(&mut log.file, File::open("/dev/full").unwrap());
    fence.close(first, at(0)).unwrap_err();
    assert_eq!(fence.open_attempts().count(), 0, "it is closed all the same");
    fence.take(second, None, at(0), at(0)).unwrap_err();
    fence.log.as_mut().unwrap().file = good;
    fence.take(second, None, at(0), at(0)).unwrap();
    let fence = Fence::open(&path, at(0)).unwrap();
    assert_eq!(fence.open_attempts().collect::<Vec<_>>(), [second]);
}

#[test]
fn what_cannot_be_compacted_goes_on_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    fs::create_dir_all(path.with_extension("new").join("in the way")).unwrap();
    let mut fence = Fence::open(&path, at(0)).unwrap();
    for round in 0..2 * SWEEP_AFTER as i64 {
        let id = AttemptId::new();
        fence.take(id, None, at(0), at(25 * round)).unwrap();
        fence.close(id, at(25 * round)).unwrap();
    }
    let last = AttemptId::new();
    fence.take(last, None, at(0), at(0)).unwrap();
    assert!(holds(&Fence::open(&path, at(0)).unwrap(), last));
}

#[test]
fn the_file_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let mut fence = Fence::open(&path, at(0)).unwrap();
    for round in 0..2_000 {
        let id = AttemptId::new();
        // A day apart: each is forgotten when the next ones come.
        fence.take(id, None, at(0), at(25 * round)).unwrap();
        fence.close(id, at(25 * round)).unwrap();
    }
    assert!(fs::metadata(&path).unwrap().len() < 200_000);
    assert!(Fence::open(&path, at(0)).unwrap().entries.len() < 2_000);
}

#[test]
fn an_attempt_whose_number_its_task_has_had_is_not_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let task = TaskId::new();
    let mut fence = Fence::open(&path, at(0)).unwrap();
    for number in [2, 5] {
        let id = AttemptId::new();
        fence.take(id, place(task, number), at(0), at(0)).unwrap();
        fence.close(id, at(0)).unwrap();
    }
    let is_new = |fence: &Fence, place| fence.past(AttemptId::new(), place).is_none();
    for fence in [fence, Fence::open(&path, at(1)).unwrap()] {
        for number in [1, 2, 3, 5] {
            let past = fence.past(AttemptId::new(), place(task, number));
            assert_eq!(past, Some(Past::MayHaveRun), "{number}");
        }
        assert!(is_new(&fence, place(task, 6)));
        assert!(is_new(&fence, place(TaskId::new(), 1)), "another task");
        assert!(is_new(&fence, None), "a cloud that gives no numbers");
    }
    // A number is remembered for as long as its attempt.
    let mut fence = Fence::open(&path, at(23)).unwrap();
    assert!(!is_new(&fence, place(task, 5)));
    fence.sweep(at(25));
    assert!(is_new(&fence, place(task, 1)) && fence.places.is_empty());
}

#[test]
fn what_never_started_is_remembered_with_its_reason_and_leaves_its_number_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let mut fence = Fence::open(&path, at(0)).unwrap();
    let task = TaskId::new();
    let reasons = [Unstarted::Unstartable, Unstarted::Canceled, Unstarted::TooLate];
    let refused = reasons.map(|why| {
        let id = AttemptId::new();
        assert_eq!(fence.past(id, place(task, 1)), None);
        fence.take(id, place(task, 1), at(0), at(0)).unwrap();
        assert_eq!(fence.past(id, place(task, 1)), Some(Past::MayHaveRun));
        fence.refuse(id, why, at(0)).unwrap();
        (id, why)
    });
    let last = AttemptId::new();
    fence.take(last, place(task, 1), at(0), at(0)).unwrap();
    let opened = Fence::open(&path, at(1)).unwrap();
    let rewritten = {
        rewrite(&path, &opened.entries).unwrap();
        Fence::open(&path, at(1)).unwrap()
    };
    for fence in [fence, opened, rewritten] {
        for (id, why) in refused {
            assert_eq!(fence.past(id, place(task, 1)), Some(Past::Refused(why)));
        }
        assert_eq!(fence.past(AttemptId::new(), place(task, 1)), Some(Past::MayHaveRun));
        assert_eq!(fence.open_attempts().collect::<Vec<_>>(), [last]);
    }
}

/// The first agents wrote 24 bytes, those of 0.1.0 one more, and none of them a place.
#[test]
fn records_of_earlier_agents_are_read_and_carried_forward() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let record = |id: AttemptId, rest: &[u8]| {
        let until = at(48).0.to_le_bytes();
        framed(&[&id.uuid().as_bytes()[..], &until, rest].concat())
    };
    let (first, open, closed) = (AttemptId::new(), AttemptId::new(), AttemptId::new());
    let old = [record(first, &[]), record(open, &[0]), record(closed, &[1])].concat();
    fs::write(&path, &old).unwrap();
    let opened = Fence::open(&path, at(0)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), old, "nothing is written for reading it");
    rewrite(&path, &opened.entries).unwrap();
    for fence in [opened, Fence::open(&path, at(0)).unwrap()] {
        for id in [first, open, closed] {
            assert_eq!(fence.past(id, place(TaskId::new(), 1)), Some(Past::MayHaveRun));
        }
        assert_eq!(fence.open_attempts().collect::<Vec<_>>(), [open]);
        assert_eq!(fence.past(AttemptId::new(), place(TaskId::new(), 1)), None);
    }
}

/// An agent of 0.1.0 that was back for a while says nothing of places.
#[test]
fn a_place_survives_a_record_of_an_earlier_agent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let (id, task) = (AttemptId::new(), TaskId::new());
    let mut fence = Fence::open(&path, at(0)).unwrap();
    fence.take(id, place(task, 3), at(48), at(0)).unwrap();
    let closed = framed(&[&id.uuid().as_bytes()[..], &at(48).0.to_le_bytes(), &[1]].concat());
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    append(&mut file, &closed).unwrap();
    let fence = Fence::open(&path, at(0)).unwrap();
    assert_eq!(fence.open_attempts().count(), 0);
    assert_eq!(fence.past(AttemptId::new(), place(task, 3)), Some(Past::MayHaveRun));
}

/// Four attempts in six records: of the first its end is known too, the third was refused, the others are open.
fn six_records(path: &Path) -> Vec<(AttemptId, Option<Place>)> {
    let attempts: Vec<_> = (0..4).map(|_| (AttemptId::new(), place(TaskId::new(), 1))).collect();
    let mut fence = Fence::open(path, at(0)).unwrap();
    for (id, place) in &attempts {
        fence.take(*id, *place, at(48), at(0)).unwrap();
    }
    fence.close(attempts[0].0, at(0)).unwrap();
    fence.refuse(attempts[2].0, Unstarted::Canceled, at(0)).unwrap();
    attempts
}

#[test]
fn one_damaged_bit_lets_no_attempt_start_again() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let attempts = six_records(&whole);
    let bytes = fs::read(&whole).unwrap();
    let record = bytes.len() / 6;
    for flipped in 0..bytes.len() {
        let (hit, is_in_length) = (flipped / record, flipped % record < 4);
        let mut damaged = bytes.clone();
        damaged[flipped] ^= 0x10;
        let path = folder.path().join("fence");
        fs::write(&path, &damaged).unwrap();
        // The first look writes the file anew.
        for look in 1..=2 {
            let fence = Fence::open(&path, at(1)).unwrap();
            for (index, (id, place)) in attempts.iter().enumerate() {
                // What has no other record goes with the length of its only one.
                let is_gone = hit == index && is_in_length && matches!(index, 1 | 3);
                let past = fence.past(*id, *place);
                assert!(
                    is_gone || past.is_some(),
                    "byte {flipped}, look {look}: attempt {index}"
                );
            }
            // One whose end cannot be read is open again: it is told once more than needed.
            let open: Vec<_> = fence.open_attempts().collect();
            for index in [1, 3] {
                let is_open = open.contains(&attempts[index].0);
                assert!(is_open || hit == index, "byte {flipped}, look {look}: attempt {index}");
            }
        }
        // A last record without its length is taken for one that was not written to its end.
        if !(hit == 5 && is_in_length) {
            let kept = fs::read(path.with_extension("damaged")).unwrap();
            assert_eq!(kept, damaged, "byte {flipped}");
        }
    }
}

#[test]
fn a_hole_costs_what_was_in_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let ids: Vec<_> = (0..60).map(|_| AttemptId::new()).collect();
    let mut fence = Fence::open(&path, at(0)).unwrap();
    for id in &ids {
        fence.take(*id, place(TaskId::new(), 1), at(48), at(0)).unwrap();
    }
    drop(fence);
    let mut bytes = fs::read(&path).unwrap();
    let record = bytes.len() / ids.len();
    // Neither its first byte nor its last is one of a record's.
    let hole = 10 * record + 5..20 * record + 5;
    bytes[hole].fill(0);
    fs::write(&path, &bytes).unwrap();
    // A name that cannot be made stands for a disk without room for another file.
    fs::create_dir_all(path.with_extension("new").join("in the way")).unwrap();
    let later = AttemptId::new();
    let mut fence = Fence::open(&path, at(1)).unwrap();
    fence.take(later, None, at(48), at(1)).unwrap();
    for fence in [fence, Fence::open(&path, at(1)).unwrap()] {
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(holds(&fence, *id), !(10..=20).contains(&index), "attempt {index}");
        }
        assert!(holds(&fence, later), "what comes behind it can be read");
    }
}
