//! What the faults of a run act upon.

use std::sync::Arc;

use turmoil::Sim;

use crate::{machine::Machine, plan::AGENTS, process::Process, shared::Shared, victims::Graves, weather::Weather};

/// See the module.
pub(crate) struct Stage<'a, 'sim> {
    /// Network, hosts and their clock.
    pub(crate) sim: &'a mut Sim<'sim>,
    /// What all hosts share.
    pub(crate) shared: &'a Shared,
    /// Who is dead.
    pub(crate) graves: &'a mut Graves,
    /// Of the store.
    pub(crate) weather: &'a Weather,
    /// The machines, in the order of their agents.
    pub(crate) machines: &'a [Arc<Machine>],
    /// The cloud, when it is one that can stand still.
    pub(crate) process: Option<&'a mut Process>,
}

impl Stage<'_, '_> {
    /// The machine of an agent.
    pub(crate) fn machine(&self, agent: &str) -> &Machine {
        let at = AGENTS.iter().position(|name| *name == agent).expect("a known agent");
        &self.machines[at]
    }

    /// The cloud, of a plan in which it stands still.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_deref_mut().expect("a cloud that can stand still")
    }
}
