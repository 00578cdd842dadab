//! Every execution ends one day: what waited too long, what was never answered, whose agent is gone.
//!
//! ```text
//! queued, deadline over                                        expired
//! dispatched, deadline over, agent here and silent about it    its link is ended: the next Hello says what is true
//! dispatched, deadline over, agent away for longer than
//!     Config::answer_within                                    lost: whether it started is not known
//! dispatched or running, agent away for longer than
//!     Config::lost_after                                       lost
//!     (both only once agents could come for Config::return_within: until then it was not they that were away)
//! ```
//! One row that is due again and again, so that of several clouds one looks. What a removed agent had to do is ended by
//! the rows of its removal ([`super::removal`]).

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, TaskId},
    problem::Problem,
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};

use super::{commit::Commit, machine::Event, presence::Presence, reachable::Reachable};
use crate::{
    store::{self, record::Execution},
    work::{Worked, Worker},
};

/// Executions that are read at once.
const PAGE: u32 = 1_000;
/// How long an agent that is here may take to answer after the time to start was over.
const SILENCE: Duration = Duration::from_secs(30);

/// Ends what does not end by itself.
pub(super) struct Expiry {
    pub(super) commit: Commit,
    pub(super) presence: Presence,
    pub(super) every: Duration,
    pub(super) reachable: Reachable,
    pub(super) answer_within: Duration,
    pub(super) lost_after: Duration,
}

#[async_trait]
impl Worker for Expiry {
    fn kind(&self) -> &'static str {
        "expiry"
    }

    fn standing(&self) -> Vec<&'static str> {
        vec!["all"]
    }

    async fn work(&self, _: &str) -> store::Result<Worked> {
        // None keeps the others from being asked.
        let ends = [self.expired().await, self.unanswered().await, self.silent().await];
        self.ask_the_silent();
        ends.into_iter().collect::<store::Result<()>>()?;
        Ok(Worked::Again(self.every))
    }
}

/// The way through a question page by page: executions of agents that are here stay in it, and hide nobody behind them.
struct Pages {
    /// Behind which agent and task the next page begins.
    after: Option<(AgentId, TaskId)>,
    more: bool,
}

impl Pages {
    const fn new() -> Self {
        Self {
            after: None,
            more: true,
        }
    }

    fn turned(&mut self, page: Vec<Execution>) -> Vec<Execution> {
        self.after = page.last().map(|last| (last.agent_id, last.task_id));
        self.more = page.len() >= PAGE as usize;
        page
    }
}

impl Expiry {
    async fn expired(&self) -> store::Result<()> {
        let mut tried = BTreeSet::new();
        loop {
            let mut expired = self.commit.store.execution_expired(UnixMicros::now(), PAGE).await?;
            let more = expired.len() == PAGE as usize;
            // One whose change the store does not take is there again, and is not tried twice in one look.
            expired.retain(|execution| tried.insert((execution.task_id, execution.agent_id)));
            let progress = !expired.is_empty();
            self.commit.change_all(expired, |_| vec![Event::QueueExpired]).await?;
            if !(more && progress) {
                return Ok(());
            }
        }
    }

    async fn unanswered(&self) -> store::Result<()> {
        if !self.reachable.all_could_come() {
            return Ok(());
        }
        let before = UnixMicros::now().minus(self.answer_within);
        let mut pages = Pages::new();
        while pages.more {
            let stale = self.commit.store.execution_stale(before, pages.after, PAGE).await?;
            // Whoever is here is asked, not given up.
            let away = self.away(pages.turned(stale));
            self.commit.change_all(away, |_| vec![Event::Unanswered]).await?;
        }
        Ok(())
    }

    async fn silent(&self) -> store::Result<()> {
        if !self.reachable.all_could_come() {
            return Ok(());
        }
        let before = UnixMicros::now().minus(self.lost_after);
        let mut pages = Pages::new();
        while pages.more {
            let silent = self.commit.store.execution_silent(before, pages.after, PAGE).await?;
            let away = self.away(pages.turned(silent));
            self.commit.change_all(away, |_| vec![Event::AgentGone]).await?;
        }
        Ok(())
    }

    fn away(&self, mut executions: Vec<Execution>) -> Vec<Execution> {
        executions.retain(|execution| !self.presence.is_here(execution.agent_id));
        executions
    }

    /// Ends the links of agents that are here and have not answered: their next Hello says whether they have it.
    fn ask_the_silent(&self) {
        let before = UnixMicros::now().minus(SILENCE);
        let silent = |execution: &Execution| {
            execution.state == ExecutionState::Dispatched
                && execution.queue_deadline.is_some_and(|deadline| deadline < before)
        };
        for (agent, attempt) in self.commit.book.find(silent) {
            let why = Problem::new(Reason::AttemptForgotten).with("attempt", attempt);
            self.commit.outgoing.ask_anew(agent, why);
        }
    }
}
