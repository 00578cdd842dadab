//! What follows from the removal of an agent.
//!
//! The row of the agent and rows of work are one transaction; what the agent had to do is ended by whoever claims them,
//! now or after a restart. Two of them: what is being created at that moment, for an agent that was there a moment ago,
//! is found by the second.

use std::time::Duration;

use async_trait::async_trait;
use opslink::{id::AgentId, problem::Problem, time::UnixMicros};

use super::{commit::Commit, machine::Event, to_the_end};
use crate::{
    agents::Directory,
    crash::crashpoint,
    signals::Signal,
    store::{self, record::Audit},
    work::{self, Worked, Worker},
};

/// Kind of its rows; the key is the agent, and [`AFTERWARDS`] in that of the second one.
pub(super) const KIND: &str = "remains";
const AFTERWARDS: &str = "/afterwards";
/// When the second row is due: whatever was begun before the removal has been committed by then, or never is. Some of the
/// store's own limits.
const AFTER: Duration = Duration::from_secs(120);
/// Executions that are read at once.
const PAGE: u32 = 1_000;

/// Removes agents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Removal {
    pub(super) commit: Commit,
    pub(super) directory: Directory,
}

/// Why an agent was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// What the store says about the removal.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The work was cut short by a fault of this program.
    #[error("{0}")]
    Broken(Problem),
}

impl Removal {
    /// Removes an agent for good: its row, its place in the directory, its link, and what it had to do.
    ///
    /// # Errors
    /// Nothing was removed.
    ///
    /// # Cancel
    /// What was begun goes on to its end.
    pub(crate) async fn remove(&self, agent: AgentId, audit: Audit) -> Result<(), RemovalError> {
        let removal = self.clone();
        let work = async move { Ok(removal.carry_out(agent, audit).await) };
        Ok(to_the_end(work).await.map_err(RemovalError::Broken)??)
    }

    async fn carry_out(&self, agent: AgentId, audit: Audit) -> store::Result<()> {
        {
            let _one = self.directory.one_change().await;
            let now = UnixMicros::now();
            let due = vec![
                work::row(KIND, agent, now),
                work::row(KIND, format!("{agent}{AFTERWARDS}"), now.plus(AFTER)),
            ];
            let removed = self.commit.store.write((agent, audit, due), |tx, (agent, audit, due)| {
                Box::pin(async move {
                    tx.agent_remove(agent, audit).await?;
                    tx.work_add(due).await
                })
            });
            match removed.await {
                Ok(()) => {}
                Err(error) if error.may_be_done() && self.is_removed(agent).await => {}
                Err(error) => return Err(error),
            }
            crashpoint!("agent.removed");
            // From here no handshake succeeds: the TLS verifier asks the directory.
            self.directory.remove(agent);
        }
        self.commit.signals.send(Signal::AgentRevoked(agent));
        // Usually done before the answer; if not, by whoever claims the row.
        if let Err(error) = end_remains(&self.commit, agent).await {
            tracing::warn!(agent_id = %agent, %error, "what a removed agent had to do is ended later");
        }
        self.commit.signals.send(Signal::WorkDue(KIND));
        Ok(())
    }

    async fn is_removed(&self, agent: AgentId) -> bool {
        let found = self.commit.store.agent_get(agent).await;
        found.is_ok_and(|agent| agent.is_none_or(|agent| agent.removed))
    }
}

#[async_trait]
impl Worker for Removal {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn work(&self, key: &str) -> store::Result<Worked> {
        let agent = key.strip_suffix(AFTERWARDS).unwrap_or(key);
        let agent: AgentId = agent.parse().map_err(|_| store::Error::Corrupt {
            what: "remains",
            message: format!("`{key}` is no agent"),
        })?;
        // The removal's answer may have been lost, or another cloud has removed it.
        self.directory.remove(agent);
        self.commit.signals.send(Signal::AgentRevoked(agent));
        end_remains(&self.commit, agent).await?;
        Ok(Worked::Done)
    }
}

/// Ends what an agent that was removed can no longer do.
async fn end_remains(commit: &Commit, agent: AgentId) -> store::Result<()> {
    let mut after = None;
    loop {
        let open = commit.store.execution_open_page(agent, after, PAGE).await?;
        let Some(last) = open.last() else { return Ok(()) };
        after = Some(last.task_id);
        commit.change_all(open, |_| vec![Event::AgentRemoved]).await?;
    }
}
