//! What is at work right now, in memory, so that the hot path asks no database who an attempt belongs to.
//!
//! Filled by dispatch and by attaching agents, emptied by ends. It is a copy: every change is made in the store
//! against the state that the store has, and what the store answers is what is kept here.
//!
//! An agent has so many slots. Whoever is about to hand something over takes a [`Slot`]; unless that is kept once the
//! store has it, the slot is free again when the value goes, on whatever way out.

use std::{collections::HashSet, sync::Arc};

use dashmap::DashMap;
use opslink::id::{AgentId, AttemptId, TaskId};

use super::{
    info::{Infos, TaskInfo},
    left_alone::LeftAlone,
    life,
    refusals::Refusals,
};
use crate::{
    signals::{Signal, Signals},
    store::record::Execution,
};

/// An execution that was handed to its agent and has no end.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) info: Arc<TaskInfo>,
    pub(crate) execution: Execution,
    /// Some of its output is stored, or may be.
    has_output: bool,
}

/// The attempts at work, and the slots of the agents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Book(Arc<Inner>);

struct Inner {
    slots_max: usize,
    live: DashMap<AttemptId, Live>,
    infos: Infos,
    agents: DashMap<AgentId, Slots>,
    refusals: Refusals,
    left_alone: LeftAlone,
    signals: Arc<dyn Signals>,
}

#[derive(Debug, Default)]
struct Slots {
    /// Attempts that the store says are handed over.
    active: HashSet<AttemptId>,
    /// Attempts that are about to be handed over.
    reserved: HashSet<AttemptId>,
    /// There may be more in the store's queue.
    backlog: bool,
    /// Something may have been handed over that nobody sent: the answer of the store was lost.
    doubt: bool,
}

impl Slots {
    fn taken(&self) -> usize {
        self.active.len() + self.reserved.len()
    }

    fn holds(&self, attempt: AttemptId) -> bool {
        self.active.contains(&attempt) || self.reserved.contains(&attempt)
    }
}

/// A slot of an agent, for an attempt that is about to be handed over. Free again when dropped, unless kept.
pub(crate) struct Slot {
    book: Book,
    agent: AgentId,
    attempt: AttemptId,
    /// This value made the reservation; another one may be for the same attempt, and changes nothing by going.
    first: bool,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("agent", &self.agent)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Slot {
    /// The attempt that it is for.
    pub(crate) const fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// The attempt is handed over: it has the slot until its end.
    pub(crate) fn keep(self) {
        self.book.hold_slot(self.agent, self.attempt);
        // Dropped now, which takes the reservation back.
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.first {
            self.book
                .release(self.agent, |slots| slots.reserved.remove(&self.attempt));
        }
    }
}

impl Book {
    pub(crate) fn new(slots_max: usize, signals: Arc<dyn Signals>) -> Self {
        Self(Arc::new(Inner {
            slots_max,
            live: DashMap::new(),
            infos: Infos::default(),
            agents: DashMap::new(),
            refusals: Refusals::default(),
            left_alone: LeftAlone::default(),
            signals,
        }))
    }

    /// What the executions of tasks share.
    pub(crate) fn infos(&self) -> &Infos {
        &self.0.infos
    }

    /// Whose output is refused.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// Whose changes the store does not take.
    pub(super) fn left_alone(&self) -> &LeftAlone {
        &self.0.left_alone
    }

    pub(crate) fn live(&self, attempt: AttemptId) -> Option<Live> {
        self.0.live.get(&attempt).map(|entry| entry.value().clone())
    }

    /// Says whether an attempt is at work, as far as known here.
    pub(crate) fn knows(&self, attempt: AttemptId) -> bool {
        self.0.live.contains_key(&attempt)
    }

    /// Agent and task of an attempt at work.
    pub(crate) fn owner(&self, attempt: AttemptId) -> Option<(AgentId, TaskId)> {
        self.0
            .live
            .get(&attempt)
            .map(|entry| (entry.execution.agent_id, entry.execution.task_id))
    }

    /// Keeps what the store says now of an execution that is handed over.
    pub(crate) fn keep(&self, info: &Arc<TaskInfo>, attempt: AttemptId, execution: &Execution) {
        let live = || Live {
            info: info.clone(),
            execution: execution.clone(),
            has_output: false,
        };
        {
            let mut entry = self.0.live.entry(attempt).or_insert_with(live);
            if execution.revision > entry.execution.revision {
                *entry = Live {
                    has_output: entry.has_output,
                    ..live()
                };
            }
        }
        self.hold_slot(execution.agent_id, attempt);
    }

    /// Forgets an attempt that is not at work (any more), and frees its slot.
    pub(crate) fn forget(&self, agent: AgentId, attempt: AttemptId) {
        self.0.live.remove(&attempt);
        self.release(agent, |slots| slots.active.remove(&attempt));
    }

    /// Forgets those of `active` that are not among what the store has handed over. `active` was taken before the store
    /// was asked: what is added meanwhile is not taken for ended.
    pub(super) fn forget_ended(&self, agent: AgentId, active: Vec<AttemptId>, handed_over: &[Execution]) {
        let there: HashSet<_> = handed_over.iter().filter_map(life::handed_over).collect();
        for attempt in active.into_iter().filter(|attempt| !there.contains(attempt)) {
            self.forget(agent, attempt);
        }
    }

    /// Agents and attempts of those at work for which this is true.
    pub(crate) fn find(&self, is_meant: impl Fn(&Execution) -> bool) -> Vec<(AgentId, AttemptId)> {
        let live = self.0.live.iter().filter(|entry| is_meant(&entry.execution));
        live.map(|entry| (entry.execution.agent_id, *entry.key())).collect()
    }

    /// Notes that some output of the attempt is stored, or may be.
    pub(crate) fn note_output(&self, attempt: AttemptId) {
        if let Some(mut live) = self.0.live.get_mut(&attempt) {
            live.has_output = true;
        }
    }

    /// Says whether the attempt is at work and nothing of its output is stored.
    pub(crate) fn has_no_output(&self, attempt: AttemptId) -> bool {
        self.0.live.get(&attempt).is_some_and(|live| !live.has_output)
    }

    /// Takes a slot of the agent; none when all are taken. An attempt never takes two.
    pub(crate) fn take_slot(&self, agent: AgentId, attempt: AttemptId) -> Option<Slot> {
        let mut slots = self.0.agents.entry(agent).or_default();
        let known = slots.holds(attempt);
        if !known && slots.taken() >= self.0.slots_max {
            slots.backlog = true;
            return None;
        }
        if !known {
            slots.reserved.insert(attempt);
        }
        drop(slots);
        Some(Slot {
            book: self.clone(),
            agent,
            attempt,
            first: !known,
        })
    }

    /// Says whether somebody here is about to hand the attempt over, and will send it.
    pub(crate) fn is_reserved(&self, agent: AgentId, attempt: AttemptId) -> bool {
        let slots = self.0.agents.get(&agent);
        slots.is_some_and(|slots| slots.reserved.contains(&attempt))
    }

    /// Takes a slot, free or not: the attempt is there already.
    pub(crate) fn hold_slot(&self, agent: AgentId, attempt: AttemptId) {
        self.0.agents.entry(agent).or_default().active.insert(attempt);
    }

    /// Gives a slot back, and wakes whoever waits for it.
    fn release(&self, agent: AgentId, remove: impl FnOnce(&mut Slots) -> bool) {
        let waited_for = self
            .0
            .agents
            .get_mut(&agent)
            .is_some_and(|mut slots| remove(&mut slots) && slots.backlog);
        if waited_for {
            self.0.signals.send(Signal::WakeAgent(agent));
        }
    }

    /// Slots of the agent that nobody has.
    pub(crate) fn free_slots(&self, agent: AgentId) -> usize {
        let taken = self.0.agents.get(&agent).map_or(0, |slots| slots.taken());
        self.0.slots_max.saturating_sub(taken)
    }

    /// Attempts that hold a slot of the agent because the store had them handed over.
    pub(crate) fn active(&self, agent: AgentId) -> Vec<AttemptId> {
        let slots = self.0.agents.get(&agent);
        slots.map_or_else(Vec::new, |slots| slots.active.iter().copied().collect())
    }

    pub(crate) fn set_backlog(&self, agent: AgentId, backlog: bool) {
        match backlog {
            true => self.0.agents.entry(agent).or_default().backlog = true,
            false => {
                if let Some(mut slots) = self.0.agents.get_mut(&agent) {
                    slots.backlog = false;
                }
            }
        }
    }

    /// Notes that the store may have something handed over that is not known here.
    pub(crate) fn set_doubt(&self, agent: AgentId) {
        self.0.agents.entry(agent).or_default().doubt = true;
    }

    /// Takes the mark of [`Self::set_doubt`] away, and says whether it was there.
    pub(crate) fn take_doubt(&self, agent: AgentId) -> bool {
        let slots = self.0.agents.get_mut(&agent);
        slots.is_some_and(|mut slots| std::mem::take(&mut slots.doubt))
    }

    /// Agents with a free slot and something that may wait for it, in the order of their ids: nobody has looked yet,
    /// because the store was away or a signal was lost.
    pub(crate) fn neglected(&self) -> Vec<AgentId> {
        let waits = |slots: &Slots| slots.doubt || slots.backlog && slots.taken() < self.0.slots_max;
        let entries = self.0.agents.iter();
        let waiting = entries.filter(|entry| waits(entry.value()));
        let mut agents: Vec<_> = waiting.map(|entry| *entry.key()).collect();
        agents.sort_unstable();
        agents
    }

    #[cfg(test)]
    pub(crate) fn backdate(&self, attempt: AttemptId) {
        self.0.live.get_mut(&attempt).unwrap().execution.queue_deadline = Some(opslink::time::UnixMicros(1));
    }

    #[cfg(test)]
    pub(crate) fn misremember(&self, attempt: AttemptId) {
        self.0.live.get_mut(&attempt).unwrap().execution.task_id = TaskId::new();
    }

    /// Forgets what nobody needs: dead entries of the task cache, agents without anything. What waits for an agent that is
    /// not here is marked anew when it comes, after it is here.
    pub(crate) fn sweep(&self, is_here: impl Fn(AgentId) -> bool) {
        self.0.infos.sweep();
        self.0
            .agents
            .retain(|agent, slots| slots.taken() > 0 || slots.doubt || slots.backlog && is_here(*agent));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Woken(Mutex<Vec<AgentId>>);

    impl Signals for Woken {
        fn send(&self, signal: Signal<'_>) {
            if let Signal::WakeAgent(agent) = signal {
                self.0.lock().unwrap().push(agent);
            }
        }
    }

    fn book(slots: usize) -> (Book, Arc<Woken>, AgentId) {
        let woken = Arc::new(Woken::default());
        (Book::new(slots, woken.clone()), woken, AgentId::new())
    }

    #[test]
    fn a_slot_that_is_not_kept_is_free_again_and_wakes_who_waits() {
        let (book, woken, agent) = book(1);
        let slot = book.take_slot(agent, AttemptId::new()).unwrap();
        assert!(book.take_slot(agent, AttemptId::new()).is_none());
        drop(slot);
        assert_eq!(*woken.0.lock().unwrap(), [agent]);
        assert_eq!(book.free_slots(agent), 1);
    }

    #[test]
    fn a_kept_slot_is_taken_until_its_attempt_is_forgotten() {
        let (book, _, agent) = book(1);
        let attempt = AttemptId::new();
        book.take_slot(agent, attempt).unwrap().keep();
        assert_eq!((book.free_slots(agent), book.active(agent)), (0, vec![attempt]));
        book.forget(agent, attempt);
        assert_eq!(book.free_slots(agent), 1);
        book.set_backlog(agent, false);
        book.sweep(|_| true);
        assert!(book.0.agents.is_empty());
    }

    #[test]
    fn a_queue_is_marked_until_somebody_looked_or_its_agent_went() {
        let (book, _, agent) = book(1);
        book.set_backlog(agent, true);
        book.sweep(|_| true);
        assert_eq!(book.neglected(), [agent]);
        book.sweep(|_| false);
        assert!(book.neglected().is_empty());
    }

    #[test]
    fn the_loser_of_a_race_for_one_attempt_frees_nothing() {
        let (book, _, agent) = book(2);
        let attempt = AttemptId::new();
        let (first, second) = (
            book.take_slot(agent, attempt).unwrap(),
            book.take_slot(agent, attempt).unwrap(),
        );
        second.keep();
        drop(first);
        assert_eq!(book.active(agent), [attempt]);
        drop(book.take_slot(agent, attempt).unwrap());
        assert_eq!((book.active(agent), book.free_slots(agent)), (vec![attempt], 1));
    }
}
