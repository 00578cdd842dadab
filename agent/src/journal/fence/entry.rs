//! What the fence knows of an attempt, how it writes that down, and how it reads it again. Pure.

use opslink::{
    id::{AttemptId, TaskId},
    time::UnixMicros,
};
use uuid::Uuid;

use crate::journal::frame::{HEADER_BYTES, Header, finish};

/// Longest record that is looked for behind a damaged one: this agent writes 45 bytes, a later one some more.
const RECORD_MAX: usize = 1_024;

/// Where an attempt stands among those of its task on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its task.
    pub task: TaskId,
    /// From 1; each attempt of the task has a higher one than those before it.
    pub number: u32,
}

/// What the fence knows of an attempt that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// It was taken here, or one of its task that does not come before it: it may have run.
    MayHaveRun,
    /// It was taken here and then refused: nothing of it ran, and nothing ever will.
    Refused(Unstarted),
}

/// Why an attempt that was taken was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstarted {
    /// There was no runner for it.
    Unstartable,
    /// Its cancel was first.
    Canceled,
    /// It could not be taken in time.
    TooLate,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It may run.
    Taken,
    /// The cloud has it for good.
    Closed,
    Refused(Unstarted),
}

impl State {
    fn to_byte(self) -> u8 {
        match self {
            Self::Taken => 0,
            Self::Closed => 1,
            Self::Refused(Unstarted::Unstartable) => 2,
            Self::Refused(Unstarted::Canceled) => 3,
            Self::Refused(Unstarted::TooLate) => 4,
        }
    }

    /// For agents of 0.1.0 everything but 0 is closed; so is for this one what only a later one knows.
    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Taken,
            2 => Self::Refused(Unstarted::Unstartable),
            3 => Self::Refused(Unstarted::Canceled),
            4 => Self::Refused(Unstarted::TooLate),
            _ => Self::Closed,
        }
    }
}

/// What is known of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// From then on no envelope of it is accepted.
    pub until: UnixMicros,
    pub state: State,
    /// `None` when the cloud did not say, and in what earlier agents wrote.
    pub place: Option<Place>,
}

impl Entry {
    /// The place that no other attempt may have: that of one that may have run.
    pub(super) fn held_place(&self) -> Option<Place> {
        match self.state {
            State::Taken | State::Closed => self.place,
            State::Refused(_) => None,
        }
    }
}

/// Attempt id, end of memory, state; then task id and number, if they are known. What a later agent adds is passed over.
pub(super) fn encode(id: AttemptId, entry: Entry) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    out.extend_from_slice(id.uuid().as_bytes());
    out.extend_from_slice(&entry.until.0.to_le_bytes());
    out.push(entry.state.to_byte());
    if let Some(place) = entry.place {
        out.extend_from_slice(place.task.uuid().as_bytes());
        out.extend_from_slice(&place.number.to_le_bytes());
    }
    finish(&mut out);
    out
}

/// What a file says. A damaged record costs itself only: the next whole one is found wherever it begins.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What whole records say, in order.
    pub records: Vec<(AttemptId, Entry)>,
    /// What damaged ones still seem to say. Good for one thing only: to keep an attempt from being started.
    pub hints: Vec<(AttemptId, Entry)>,
    /// Bytes that were passed over, for a whole record behind them.
    pub passed_over: usize,
    /// Where the last whole record ends.
    pub valid_bytes: usize,
}

impl Said {
    /// Says whether more is wrong than a last record that was not written to its end.
    pub(super) fn is_damaged(&self) -> bool {
        self.passed_over > 0 || !self.hints.is_empty()
    }
}

pub(super) fn read(bytes: &[u8]) -> Said {
    let mut said = Said::default();
    // Where a record should begin, by the length of the one before it, and where one is looked for.
    let (mut expected, mut at) = (0, 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match frame(rest) {
            Some((payload, true)) => {
                said.passed_over += at - said.valid_bytes;
                said.records.extend(parse(payload));
                at += HEADER_BYTES + payload.len();
                (expected, said.valid_bytes) = (at, at);
                continue;
            }
            Some((payload, false)) if at == expected => {
                said.hints.extend(parse(payload).map(as_hint));
                expected += HEADER_BYTES + payload.len();
            }
            Some((_, false)) | None => {}
        }
        // Its length may be what is damaged.
        at += 1;
    }
    said
}

/// The frame that begins here: its payload, and whether that is what was written.
fn frame(bytes: &[u8]) -> Option<(&[u8], bool)> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let header = Header::parse(*header).filter(|header| header.length <= RECORD_MAX)?;
    let payload = rest.get(..header.length)?;
    Some((payload, header.fits(payload)))
}

/// Any byte may be the damaged one. With the right id or the right place it holds what it held; with a wrong one it is about
/// nobody. That it may have run is what harms least, and whoever knows more of it has a whole record.
fn as_hint((id, entry): (AttemptId, Entry)) -> (AttemptId, Entry) {
    let state = State::Closed;
    (id, Entry { state, ..entry })
}

fn parse(payload: &[u8]) -> Option<(AttemptId, Entry)> {
    let (id, rest) = payload.split_first_chunk::<16>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    // The first agents wrote only attempts whose folders were gone, and without this byte.
    let (state, rest) = rest.split_first().unwrap_or((&1, &[]));
    let entry = Entry {
        until: UnixMicros(i64::from_le_bytes(*until)),
        state: State::from_byte(*state),
        place: parse_place(rest),
    };
    Some((AttemptId::from_uuid(Uuid::from_bytes(*id)), entry))
}

fn parse_place(bytes: &[u8]) -> Option<Place> {
    let (task, rest) = bytes.split_first_chunk::<16>()?;
    let number = rest.first_chunk::<4>()?;
    Some(Place {
        task: TaskId::from_uuid(Uuid::from_bytes(*task)),
        number: u32::from_le_bytes(*number),
    })
}
