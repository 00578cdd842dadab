//! What a watch reads from the store once it has begun: what it missed, at each heartbeat and whenever it fell behind, and
//! what it does not keep. All of it in the seat of its caller.

use opslink::{problem::Problem, reason::Reason};

use super::{End, Watch, opening::PAGE};
use crate::{
    seats::Seats,
    store::{self, record::Execution},
    task::view::Counts,
};

/// Watches of one actor that read from the store at the same time.
const READING_OF_ONE: usize = 1;
/// Watches of all actors that do: half of what reads for callers, so that lists need not wait for them.
const READING_IN_ALL: usize = 2;

/// The seats of whoever reads for a watch.
pub(in crate::task) fn seats() -> Seats {
    Seats::within(READING_OF_ONE, READING_IN_ALL)
}

impl Watch {
    /// Reads from the store what was missed. The tail stands at its newest already.
    pub(super) async fn catch_up(&mut self) -> Result<(), End> {
        let gone = || End::Failed(Problem::new(Reason::TaskNotFound).with("task", self.task.id));
        let task = self.seated(self.store.task_get(self.task.id)).await?;
        self.task = task.ok_or_else(gone)?;
        let revision = self.seated(self.store.task_revision(self.task.id)).await?;
        // Revisions only grow, save in a database that was set back: what was seen there is no more.
        if self.was_set_back || revision < self.last_revision {
            self.was_set_back = false;
            self.last_revision = 0;
            self.seen.clear();
            self.counts.clear();
            self.attempts.clear();
        }
        loop {
            let changes = self.store.execution_changes(self.task.id, self.last_revision, PAGE);
            let changes = self.seated(changes).await?;
            self.catch_up_output(&changes).await?;
            for execution in &changes {
                self.last_revision = self.last_revision.max(execution.revision);
                self.take_execution(execution).await?;
            }
            if (changes.len() as u64) < u64::from(PAGE) {
                break;
            }
        }
        // Output of executions that did not change meanwhile.
        let running = self
            .seen
            .values()
            .filter(|seen| seen.wanted && !seen.state.is_terminal());
        let running: Vec<_> = running
            .filter_map(|seen| Some((seen.attempt?, seen.name.to_string())))
            .collect();
        self.read_behind(running).await
    }

    /// Reads in the seat of the caller, who stands behind itself with all its watches. Nothing is sent from there: that may
    /// take as long as the caller likes.
    pub(super) async fn seated<T>(&self, read: impl Future<Output = store::Result<T>>) -> store::Result<T> {
        let _seat = self.seats.of(&self.actor).await;
        read.await
    }

    /// Reads what is not known of the attempts of these executions.
    pub(super) async fn know_attempts(&mut self, executions: &[Execution]) -> Result<(), End> {
        if !executions.iter().any(|execution| self.is_wanted(execution)) {
            return Ok(());
        }
        let missing = self.attempts.missing(executions);
        if !missing.is_empty() {
            let heads = self.store.attempt_heads(self.task.id, &missing);
            let heads = self.seated(heads).await?;
            self.attempts.keep(heads);
        }
        Ok(())
    }

    /// How many executions are in each state, those that cannot be read included.
    pub(super) async fn all_counts(&self) -> Result<Counts, End> {
        if !self.has_unreadable {
            return Ok(self.counts.clone());
        }
        let counts = self.store.execution_counts(std::slice::from_ref(&self.task.id));
        let mut counts = self.seated(counts).await?;
        Ok(counts.remove(&self.task.id).unwrap_or_default().states)
    }
}
