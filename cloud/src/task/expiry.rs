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
//!
//! Who is over a deadline is found in an index. Who has been away for too long is not: everything at work is read for it,
//! so it is asked as seldom as the time allows ([`Patience`]).
//!
//! Each is one question for the whole fleet. What the store cannot answer, since a page of it cannot be read, is asked agent
//! by agent in that look ([`by_agent`]).

mod by_agent;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, TaskId},
    problem::Problem,
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};
use tokio::time::Instant;

use self::by_agent::Question;
pub(super) use self::by_agent::ToldOnce;
use super::{commit::Commit, machine::Event, presence::Presence, reachable::Reachable};
use crate::{
    agents::Directory,
    store::{self, record::Execution},
    work::{Worked, Worker},
};

/// Executions that are read at once.
const PAGE: u32 = 1_000;
/// How long an agent that is here may take to answer after the time to start was over.
const SILENCE: Duration = Duration::from_secs(30);

/// Of the time for which something is waited, so much may be added to it: one part of this many.
const LOOKS: u32 = 20;

/// How long agents may be away, and when it was looked last who was for longer.
#[derive(Debug)]
pub(super) struct Patience {
    time: Duration,
    looked: Mutex<Option<Instant>>,
}

impl Patience {
    pub(super) const fn of(time: Duration) -> Self {
        Self {
            time,
            looked: Mutex::new(None),
        }
    }

    /// Whoever was heard of last before this time has been away for too long.
    fn before(&self) -> UnixMicros {
        UnixMicros::now().minus(self.time)
    }

    /// Says whether it is time to look.
    fn is_due(&self) -> bool {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.is_none_or(|looked| looked.elapsed() >= self.time / LOOKS)
    }

    /// A look that began then is through.
    fn looked(&self, began: Instant) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
    }
}

/// Ends what does not end by itself.
pub(super) struct Expiry {
    pub(super) commit: Commit,
    pub(super) directory: Directory,
    pub(super) presence: Presence,
    pub(super) every: Duration,
    pub(super) reachable: Reachable,
    pub(super) answer_within: Patience,
    pub(super) lost_after: Patience,
    pub(super) told: ToldOnce,
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
        for end in ends {
            match end {
                Ok(()) => {}
                Err(error) if error.may_pass() => return Err(error),
                // A row that is parked looks at nothing any more, and what can be read goes on ending.
                Err(error) => tracing::error!(%error, "a part of what does not end by itself cannot be looked at"),
            }
        }
        Ok(Worked::Again(self.every))
    }
}

/// The way through a question page by page: executions of agents that are here stay in it, and so do those whose change the
/// store does not take. They hide nobody behind them, and none is looked at twice in one look.
struct Pages<K> {
    /// Behind which place the next page begins.
    after: Option<K>,
    more: bool,
}

impl<K> Pages<K> {
    const fn new() -> Self {
        Self {
            after: None,
            more: true,
        }
    }

    /// Takes a page whose last place is the one behind which the next begins.
    fn turned(&mut self, page: Vec<Execution>, place: impl Fn(&Execution) -> Option<K>) -> Vec<Execution> {
        self.after = page.last().and_then(place);
        self.more = page.len() >= PAGE as usize && self.after.is_some();
        page
    }
}

/// In the order of what is at work.
const fn at_work(execution: &Execution) -> Option<(AgentId, TaskId)> {
    Some((execution.agent_id, execution.task_id))
}

impl Expiry {
    async fn expired(&self) -> store::Result<()> {
        let now = UnixMicros::now();
        let ended = self.expired_of_all(now).await;
        self.or_agent_by_agent(ended, Question::Expired(now)).await
    }

    async fn expired_of_all(&self, now: UnixMicros) -> store::Result<()> {
        let place = |execution: &Execution| Some((execution.queue_deadline?, execution.task_id, execution.agent_id));
        let mut pages = Pages::new();
        while pages.more {
            let expired = self.commit.store.execution_expired(now, pages.after, PAGE).await?;
            let expired = pages.turned(expired, place);
            self.commit.change_all(expired, |_| vec![Event::QueueExpired]).await?;
        }
        Ok(())
    }

    async fn unanswered(&self) -> store::Result<()> {
        if !self.reachable.all_could_come() || !self.answer_within.is_due() {
            return Ok(());
        }
        let (began, before) = (Instant::now(), self.answer_within.before());
        let ended = self.unanswered_of_all(before).await;
        self.or_agent_by_agent(ended, Question::Unanswered(before)).await?;
        self.answer_within.looked(began);
        Ok(())
    }

    async fn unanswered_of_all(&self, before: UnixMicros) -> store::Result<()> {
        let mut pages = Pages::new();
        while pages.more {
            let stale = self.commit.store.execution_stale(before, pages.after, PAGE).await?;
            // Whoever is here is asked, not given up.
            let away = self.away(pages.turned(stale, at_work));
            self.commit.change_all(away, |_| vec![Event::Unanswered]).await?;
        }
        Ok(())
    }

    async fn silent(&self) -> store::Result<()> {
        if !self.reachable.all_could_come() || !self.lost_after.is_due() {
            return Ok(());
        }
        let (began, before) = (Instant::now(), self.lost_after.before());
        let ended = self.silent_of_all(before).await;
        self.or_agent_by_agent(ended, Question::Silent(before)).await?;
        self.lost_after.looked(began);
        Ok(())
    }

    async fn silent_of_all(&self, before: UnixMicros) -> store::Result<()> {
        let mut pages = Pages::new();
        while pages.more {
            let silent = self.commit.store.execution_silent(before, pages.after, PAGE).await?;
            let away = self.away(pages.turned(silent, at_work));
            self.commit.change_all(away, |_| vec![Event::AgentGone]).await?;
        }
        Ok(())
    }

    /// What a look for all came to; one that will never get further is made agent by agent.
    async fn or_agent_by_agent(&self, ended: store::Result<()>, question: Question) -> store::Result<()> {
        match ended {
            Err(error) if !error.may_pass() => self.agent_by_agent(question, &error).await,
            ended => ended,
        }
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
