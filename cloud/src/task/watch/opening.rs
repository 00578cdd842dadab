//! The beginning of a watch: all executions of its task, page by page. A task may have ten thousand, each with what its
//! agent said at the end, and a caller may never take anything: between two pages only what [`Seen`](super::Seen) holds
//! is kept of each.

use std::collections::HashSet;

use opslink::{
    id::{AgentId, AttemptId},
    problem::Problem,
    reason::Reason,
};

use super::{End, Watch};
use crate::{
    identity::StreamWeight,
    status::store_problem as problem,
    store::record::Execution,
    task::attempts::{self, KEPT_MAX},
};

/// Executions that are read at once.
pub(super) const PAGE: u32 = 256;
/// Executions that make a watch heavier by 1: what is kept of so many is 1 MiB, at some 200 bytes each.
const EXECUTIONS_OF_WEIGHT: usize = 5_000;

/// What is sent of all executions, one after the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Each as it is, so that its output has a name.
    Executions,
    /// Stored output, and then the end of those that have ended.
    Output,
}

impl Watch {
    /// Notes all executions of the task, and has the stream weigh what that takes. Returns them when one page holds them
    /// all.
    ///
    /// # Errors
    /// `AGENT_NOT_FOUND` for the first of these names and ids that none of them has, that the stream may not become as
    /// heavy, or what the store says.
    pub(super) async fn begin(
        &mut self,
        names: &[String],
        weight: &StreamWeight,
    ) -> Result<Option<Vec<Execution>>, Problem> {
        let id = self.task.id;
        // Before the executions: what changes while they are read comes again.
        self.last_revision = self.store.task_revision(id).await.map_err(problem)?;
        let mut missing: HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut own = HashSet::new();
        let mut grown = 0;
        let mut after: Option<String> = None;
        let narrow = loop {
            let page = self
                .store
                .execution_list(id, after.as_deref(), PAGE)
                .await
                .map_err(problem)?;
            for execution in &page {
                if !missing.is_empty() {
                    missing.remove(execution.agent_name.as_str());
                    missing.remove(execution.agent_id.to_string().as_str());
                }
                self.note(execution);
            }
            let wide = weight_of(self.seen.len());
            if wide > grown {
                weight.grow(wide - grown)?;
                grown = wide;
            }
            self.own_positions(&page, &mut own).await?;
            if is_last(&page) {
                break after.is_none().then_some(page);
            }
            after = name_of_last(&page);
        };
        if let Some(name) = names.iter().find(|name| missing.contains(name.as_str())) {
            return Err(Problem::new(Reason::AgentNotFound).with("agent", name));
        }
        let counts = self.store.execution_counts(&[id]).await.map_err(problem)?;
        let all: u32 = counts.values().flat_map(|counts| counts.states.values()).sum();
        self.has_unreadable = all as usize > self.seen.len();
        self.positions.retain(|attempt, _| own.contains(attempt));
        self.positions.shrink_to_fit();
        Ok(narrow)
    }

    /// Notes which attempts of these executions the caller has given a position in: somebody may name very many that are
    /// of other tasks. Those of an older attempt count only when it is shown.
    async fn own_positions(&self, page: &[Execution], own: &mut HashSet<AttemptId>) -> Result<(), Problem> {
        if self.positions.is_empty() {
            return Ok(());
        }
        own.extend(page.iter().filter_map(|execution| execution.attempt_id));
        if !self.all_attempts {
            return Ok(());
        }
        for part in attempts::parts(page, KEPT_MAX) {
            let retried = part.iter().filter(|execution| execution.attempt_number > 1);
            let agents: Vec<AgentId> = retried.map(|execution| execution.agent_id).collect();
            let heads = self.store.attempt_heads(self.task.id, &agents).await.map_err(problem)?;
            let ids = heads.into_iter().map(|head| head.id);
            own.extend(ids.filter(|id| self.positions.contains_key(id)));
        }
        Ok(())
    }

    /// Sends all executions, and their stored output. A page is read when the one before it was taken.
    pub(super) async fn show_all(&mut self, narrow: Option<Vec<Execution>>) -> Result<(), End> {
        let passes: &[Pass] = match self.has_output() {
            true => &[Pass::Executions, Pass::Output],
            false => &[Pass::Executions],
        };
        for pass in passes {
            if let Some(page) = &narrow {
                self.show(*pass, page).await?;
                continue;
            }
            let mut after: Option<String> = None;
            loop {
                let page = self.store.execution_list(self.task.id, after.as_deref(), PAGE);
                let page = self.seated(page).await?;
                self.show(*pass, &page).await?;
                if is_last(&page) {
                    break;
                }
                after = name_of_last(&page);
            }
        }
        Ok(())
    }

    async fn show(&mut self, pass: Pass, page: &[Execution]) -> Result<(), End> {
        for part in attempts::parts(page, KEPT_MAX) {
            self.know_attempts(part).await?;
            self.show_part(pass, part).await?;
        }
        Ok(())
    }

    /// Shows executions whose attempts are known.
    async fn show_part(&mut self, pass: Pass, part: &[Execution]) -> Result<(), End> {
        if pass == Pass::Output {
            self.catch_up_output(part).await?;
        }
        for execution in part {
            let is_new = self.note(execution);
            if is_new {
                self.task_is_due();
            }
            let has_ended = execution.state.is_terminal() && execution.attempt_id.is_some();
            if pass == Pass::Executions || is_new || has_ended {
                self.send_execution(execution).await?;
            }
        }
        Ok(())
    }
}

/// What a watch of so many executions weighs more, rounded: most tasks are on some agents, and count for nothing.
const fn weight_of(executions: usize) -> usize {
    (executions + EXECUTIONS_OF_WEIGHT / 2) / EXECUTIONS_OF_WEIGHT
}

fn is_last(page: &[Execution]) -> bool {
    (page.len() as u64) < u64::from(PAGE)
}

fn name_of_last(page: &[Execution]) -> Option<String> {
    page.last().map(|last| last.agent_name.clone())
}
