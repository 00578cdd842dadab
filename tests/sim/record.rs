//! What really happened, written down beside the road: what was started and said, and what people were told.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use opslink::{event::EventBody, id::AttemptId, time::UnixMicros};

use crate::{plan::Deed, recorder::Run};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Record {
    runs: Mutex<BTreeMap<AttemptId, Vec<Run>>>,
    answers: Mutex<Vec<Answer>>,
}

/// What became of something that somebody did.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// What was done.
    pub(crate) deed: Deed,
    /// When the first try began.
    pub(crate) asked: UnixMicros,
    /// When the answer came, or when there was no hope of one.
    pub(crate) told: UnixMicros,
    /// How often it was tried.
    pub(crate) tries: u32,
    /// What was said.
    pub(crate) word: Word,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is done.
    Done,
    /// It cannot be done, for this reason.
    Refused(String),
    /// Nothing: the caller went away.
    Nothing,
}

impl Record {
    /// Notes a start; returns its place among the starts of the attempt.
    pub(crate) fn started(&self, attempt: AttemptId, marker: String, agent: &'static str) -> usize {
        let mut all = self.runs.lock().unwrap();
        let runs = all.entry(attempt).or_default();
        runs.push(Run {
            marker,
            agent,
            started: UnixMicros::now(),
            ended: None,
            was_cut: false,
            events: Vec::new(),
        });
        runs.len() - 1
    }

    /// Notes an end.
    pub(crate) fn ended(&self, attempt: AttemptId, place: usize, was_cut: bool) {
        let mut all = self.runs.lock().unwrap();
        let run = &mut all.get_mut(&attempt).expect("started before")[place];
        (run.ended, run.was_cut) = (Some(UnixMicros::now()), was_cut);
    }

    /// Notes something said.
    pub(crate) fn heard(&self, attempt: AttemptId, place: usize, event: EventBody) {
        let mut all = self.runs.lock().unwrap();
        all.get_mut(&attempt).expect("started before")[place].events.push(event);
    }

    /// All starts, by attempt.
    pub(crate) fn runs(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Vec<Run>>> {
        self.runs.lock().unwrap()
    }

    /// Notes an answer.
    pub(crate) fn answered(&self, answer: Answer) {
        self.answers.lock().unwrap().push(answer);
    }

    /// All answers to this deed.
    pub(crate) fn answers(&self, deed: Deed) -> Vec<Answer> {
        let answers = self.answers.lock().unwrap();
        answers.iter().filter(|answer| answer.deed == deed).cloned().collect()
    }
}
