//! Where the memory engine can be made to wait or to fail, as the others do by themselves, and what it tells of reads.

use std::{any::Any, collections::BTreeMap};

use async_trait::async_trait;
use opslink::id::{AgentId, TaskId};

use crate::store::{Error, Result, record::Execution};

/// A place in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// Before a read. A failure here: nothing happened.
    Read,
    /// Before a transaction begins. A failure here: nothing happened.
    BeforeWrite,
    /// After a commit. A failure here: it happened, and the answer was lost.
    AfterCommit,
}

/// What is done at these places: wait, fail, or nothing.
#[async_trait]
pub trait Faults: Send + Sync {
    /// Called once at each place of each call.
    async fn at(&self, point: Point) -> Result<()>;

    /// Told of each read outside of a transaction: its name, and how many rows it has answered.
    fn answered(&self, _read: &'static str, _rows: usize) {}

    /// The execution whose row cannot be read now, see `damage.rs`.
    fn damaged(&self) -> Option<(TaskId, AgentId)> {
        None
    }

    /// Told each time that somebody was refused because of that row.
    fn refused_damaged(&self) {}

    /// What is said of that row.
    fn damage(&self, name: &str) -> Error {
        Error::Corrupt {
            what: "execution",
            message: format!("{name} is damaged"),
        }
    }
}

/// What a read answers.
pub(in crate::store) trait Rows: 'static {
    /// How many rows that is.
    fn rows(&self) -> usize;

    /// Says whether one of them is this execution.
    fn holds(&self, key: (TaskId, AgentId)) -> bool;
}

fn is_execution(row: &dyn Any, key: (TaskId, AgentId)) -> bool {
    let execution = row.downcast_ref::<Execution>();
    execution.is_some_and(|execution| (execution.task_id, execution.agent_id) == key)
}

impl<T: 'static> Rows for Vec<T> {
    fn rows(&self) -> usize {
        self.len()
    }

    fn holds(&self, key: (TaskId, AgentId)) -> bool {
        self.iter().any(|row| is_execution(row, key))
    }
}

impl<T: 'static> Rows for Option<T> {
    fn rows(&self) -> usize {
        usize::from(self.is_some())
    }

    fn holds(&self, key: (TaskId, AgentId)) -> bool {
        self.iter().any(|row| is_execution(row, key))
    }
}

impl<K: 'static, V: 'static> Rows for BTreeMap<K, V> {
    fn rows(&self) -> usize {
        self.len()
    }

    fn holds(&self, key: (TaskId, AgentId)) -> bool {
        self.values().any(|row| is_execution(row, key))
    }
}

impl Rows for u64 {
    fn rows(&self) -> usize {
        1
    }

    fn holds(&self, _: (TaskId, AgentId)) -> bool {
        false
    }
}

impl Rows for () {
    fn rows(&self) -> usize {
        0
    }

    fn holds(&self, _: (TaskId, AgentId)) -> bool {
        false
    }
}
