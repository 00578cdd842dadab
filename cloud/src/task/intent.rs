//! What shall happen to one execution, and with what.

use std::sync::Arc;

use opslink::time::UnixMicros;

use super::{book::Slot, info::TaskInfo, machine::Event};
use crate::{
    store::record::{Chunk, Execution},
    tail::LiveChunk,
};

/// What shall happen to one execution. An execution may be in a batch once.
#[derive(Debug)]
pub(crate) struct Intent {
    /// As it was when the decision was made.
    pub(crate) execution: Execution,
    pub(crate) info: Arc<TaskInfo>,
    /// In order; those that mean nothing by then are left out.
    pub(crate) events: Vec<(Event, UnixMicros)>,
    /// For the last acknowledgement: first event that the store does not have.
    pub(crate) next_seq: u64,
    /// All output of the attempt, when it is one small chunk and comes with the end.
    pub(crate) output: Option<WholeOutput>,
    /// Taken for a dispatch; goes back by itself when that comes to nothing.
    pub(crate) slot: Option<Slot>,
}

impl Intent {
    /// Nothing but these events.
    pub(crate) const fn new(execution: Execution, info: Arc<TaskInfo>, events: Vec<(Event, UnixMicros)>) -> Self {
        Self {
            execution,
            info,
            events,
            next_seq: 0,
            output: None,
            slot: None,
        }
    }

    /// The same, with the slot that its dispatch needs.
    pub(crate) fn with_slot(self, slot: Option<Slot>) -> Self {
        Self { slot, ..self }
    }
}

/// All output of an attempt, as it is stored and as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct WholeOutput {
    pub(crate) row: Chunk,
    pub(crate) live: Arc<LiveChunk>,
}

impl Intent {
    /// The same for one try; a slot goes with the first one.
    pub(super) fn copy(&mut self) -> Self {
        Self {
            execution: self.execution.clone(),
            info: self.info.clone(),
            events: self.events.clone(),
            next_seq: self.next_seq,
            output: self.output.clone(),
            slot: self.slot.take(),
        }
    }
}
