//! An execution whose row cannot be read, as damage to the disk leaves it: lists leave it out, counts count it, and whoever
//! asks for it or changes it is refused, as with the other engines. Which one it is, and when, [`Faults`](super::Faults) say.
//!
//! In one thing it is milder: a wish to cancel does not reach such a row, where the other engines may still mark it.

use std::any::TypeId;

use opslink::id::{AgentId, TaskId};

use super::{MemoryStore, State, faults::Rows};
use crate::store::{
    Error, Result,
    record::{Execution, Task},
};

type Key = (TaskId, AgentId);

impl MemoryStore {
    /// Finds an execution past all faults, for those who choose what is damaged.
    pub fn find_execution(&self, is_meant: impl Fn(&Task, &Execution) -> bool) -> Option<(TaskId, AgentId)> {
        let state = self.lock();
        let found = state.executions.iter().find(|((task, _), execution)| {
            let task = state.tasks.get(task);
            task.is_some_and(|task| is_meant(task, execution))
        });
        found.map(|(key, _)| *key)
    }

    fn damaged(&self) -> Option<Key> {
        self.faults.as_ref()?.damaged()
    }

    /// Reads, as an engine does that cannot read one row.
    pub(super) fn look<T: Rows>(&self, read: impl FnOnce(&State) -> T) -> Result<T> {
        let damaged = self.damaged();
        let mut state = self.lock();
        let Some(key) = damaged else {
            return Ok(read(&state));
        };
        if TypeId::of::<T>() == TypeId::of::<Vec<Execution>>() {
            // A list: whoever comes next takes its place.
            state.executions.remove(&key);
            let answer = read(&state);
            state.executions.undo();
            return Ok(answer);
        }
        let answer = read(&state);
        drop(state);
        if answer.holds(key) {
            return Err(self.refuse(key));
        }
        Ok(answer)
    }

    /// Takes the row that cannot be read out of the state, for the time of a transaction.
    pub(super) fn take_out(&self, state: &mut State) -> Option<(Key, Execution)> {
        let key = self.damaged()?;
        Some((key, state.executions.remove(&key)?))
    }

    /// Why a transaction failed: what was taken out is not missing, it cannot be read.
    pub(super) fn why(&self, error: Error, damaged: Option<Key>) -> Error {
        if let Some(key) = damaged
            && let Error::NotFound {
                what: "execution",
                name,
            } = &error
            && *name == name_of(key)
        {
            return self.refuse(key);
        }
        error
    }

    fn refuse(&self, key: Key) -> Error {
        let Some(faults) = &self.faults else {
            return Error::not_found("execution", name_of(key));
        };
        faults.refused_damaged();
        faults.damage(&name_of(key))
    }
}

/// As `execution_apply` calls one that is not there.
fn name_of((task, agent): Key) -> String {
    format!("{task}/{agent}")
}
