//! The same looks agent by agent, for a store that cannot answer for all at once: a page that cannot be read is met by every
//! question that comes past it. It costs the agents whose executions lie on it, and nobody else.
//!
//! Some questions an agent instead of one for all, so only while there is such a page. Whom the directory does not know is
//! not asked for: what a removed agent had to do is ended by the rows of its removal.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use opslink::{id::AgentId, task::ExecutionState, time::UnixMicros};

use super::{Expiry, PAGE};
use crate::{
    store::{self, record::Execution},
    task::machine::Event,
};

/// What is looked for, and the time that is compared.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// Waiting, with a deadline until this time.
    Expired(UnixMicros),
    /// Handed over, with a deadline until this time, and without an answer.
    Unanswered(UnixMicros),
    /// Handed over to an agent that was heard of last before this time.
    Silent(UnixMicros),
}

impl Question {
    const fn name(self) -> &'static str {
        match self {
            Self::Expired(_) => "expired",
            Self::Unanswered(_) => "unanswered",
            Self::Silent(_) => "silent",
        }
    }

    const fn event(self) -> Event {
        match self {
            Self::Expired(_) => Event::QueueExpired,
            Self::Unanswered(_) => Event::Unanswered,
            Self::Silent(_) => Event::AgentGone,
        }
    }

    /// Says whether an open execution of an agent that was asked for is one of those.
    fn is_meant(self, execution: &Execution) -> bool {
        let is_over = |until: UnixMicros| execution.queue_deadline.is_some_and(|deadline| deadline <= until);
        match self {
            Self::Expired(now) => {
                matches!(execution.state, ExecutionState::Held | ExecutionState::Queued) && is_over(now)
            }
            Self::Unanswered(before) => execution.state == ExecutionState::Dispatched && is_over(before),
            Self::Silent(_) => true,
        }
    }
}

/// What was told already: each is told once while this cloud runs. Of agents, those whose executions could not be read.
#[derive(Debug, Default)]
pub(in crate::task) struct ToldOnce {
    questions: Mutex<HashSet<&'static str>>,
    agents: Mutex<HashSet<AgentId>>,
}

impl ToldOnce {
    fn is_new_question(&self, name: &'static str) -> bool {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.insert(name)
    }

    fn is_new_agent(&self, agent: AgentId) -> bool {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.insert(agent)
    }
}

impl Expiry {
    /// Asks for one agent after the other what the store could not answer for all. An agent whose own question fails is
    /// passed over.
    ///
    /// # Errors
    /// Only those that may pass.
    pub(super) async fn agent_by_agent(&self, question: Question, why: &store::Error) -> store::Result<()> {
        if self.told.is_new_question(question.name()) {
            tracing::error!(question = question.name(), error = %why, "what does not end by itself is looked for agent by agent");
        }
        for agent in self.directory.ids() {
            match self.look_at(agent, question).await {
                Ok(()) => {}
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => {
                    if self.told.is_new_agent(agent) {
                        tracing::error!(agent_id = %agent, %error, "executions of an agent cannot be read: they do not end by themselves");
                    }
                }
            }
        }
        Ok(())
    }

    async fn look_at(&self, agent: AgentId, question: Question) -> store::Result<()> {
        match question {
            Question::Expired(_) => self.look_at_what_is_open(agent, question).await,
            // Whoever is here is asked, not given up.
            Question::Unanswered(_) | Question::Silent(_) if self.presence.is_here(agent) => Ok(()),
            Question::Silent(before) if !self.is_silent(agent, before) => Ok(()),
            Question::Unanswered(_) | Question::Silent(_) => {
                let handed_over = self.commit.store.execution_handed_over(agent).await?;
                self.end(handed_over, question).await
            }
        }
    }

    async fn look_at_what_is_open(&self, agent: AgentId, question: Question) -> store::Result<()> {
        let mut after = None;
        loop {
            let open = self.commit.store.execution_open_page(agent, after, PAGE).await?;
            after = open.last().map(|execution| execution.task_id);
            let is_last = open.len() < PAGE as usize;
            self.end(open, question).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// As the store would say it of its presences, which may be what cannot be read.
    fn is_silent(&self, agent: AgentId, before: UnixMicros) -> bool {
        let view = self.directory.get(agent);
        view.is_some_and(|view| view.last_seen_at.is_none_or(|seen| seen < before))
    }

    async fn end(&self, mut executions: Vec<Execution>, question: Question) -> store::Result<()> {
        executions.retain(|execution| question.is_meant(execution));
        self.commit.change_all(executions, |_| vec![question.event()]).await
    }
}
