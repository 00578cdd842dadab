//! What all hosts of a run share.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use opslink::{pb, time::UnixMicros};
use rustls::pki_types::CertificateDer;

use crate::{api::Api, lives::Lives, net::Meter, plan::Plan, record::Record, script::Job, tally::Tally};

/// An API token that exists from the start.
pub(crate) const API_TOKEN: &str = "olp_simulation";

/// See the module.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

/// See [`Shared`].
pub(crate) struct Inner {
    /// What was drawn.
    pub(crate) plan: Plan,
    /// Bytes on the wires.
    pub(crate) meter: Meter,
    /// What really happened.
    pub(crate) record: Record,
    /// What went wrong.
    pub(crate) tally: Tally,
    /// Who died, and who came back.
    pub(crate) lives: Lives,
    /// Agents that were welcomed.
    pub(crate) ups: Mutex<BTreeSet<&'static str>>,
    /// Id of the first task, once it is known.
    pub(crate) first_task: Mutex<Option<String>>,
    /// What the watcher got, by attempt.
    pub(crate) watched: Mutex<BTreeMap<String, Vec<pb::LogChunk>>>,
    /// The watcher saw the end of the task.
    pub(crate) watched_to_the_end: AtomicBool,
    /// When the work began.
    pub(crate) work_began: Mutex<Option<UnixMicros>>,
    over: AtomicBool,
    damaged: AtomicBool,
    now: AtomicI64,
    base: UnixMicros,
    root: CertificateDer<'static>,
    cuts: Mutex<Vec<&'static str>>,
    cut_done: Mutex<Vec<&'static str>>,
    trace: Mutex<Vec<String>>,
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Shared {
    /// Begins a run.
    pub(crate) fn new(plan: Plan, tally: Tally, base: UnixMicros, root: CertificateDer<'static>) -> Self {
        Self(Arc::new(Inner {
            plan,
            meter: Meter::default(),
            record: Record::default(),
            tally,
            lives: Lives::default(),
            ups: Mutex::default(),
            first_task: Mutex::default(),
            watched: Mutex::default(),
            watched_to_the_end: AtomicBool::default(),
            work_began: Mutex::default(),
            over: AtomicBool::default(),
            damaged: AtomicBool::default(),
            now: AtomicI64::new(base.0),
            base,
            root,
            cuts: Mutex::default(),
            cut_done: Mutex::default(),
            trace: Mutex::default(),
        }))
    }

    /// Writes a line of the trace.
    pub(crate) fn trace(&self, line: impl std::fmt::Display) {
        let line = format!("{:>9} {line}", self.relative(self.now()));
        self.trace.lock().unwrap().push(line);
    }

    /// The right time, whatever the clocks of agents say.
    pub(crate) fn now(&self) -> UnixMicros {
        UnixMicros(self.now.load(Ordering::Relaxed))
    }

    /// Sets the right time, and the clocks of all who have it.
    pub(crate) fn set_now(&self, now: UnixMicros) {
        self.now.store(now.0, Ordering::Relaxed);
        UnixMicros::fix_clock(Some(now));
    }

    /// Takes the trace away.
    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.trace
            .lock()
            .map(|mut lines| std::mem::take(&mut *lines))
            .unwrap_or_default()
    }

    /// Microseconds of simulated time.
    pub(crate) fn relative(&self, time: UnixMicros) -> i64 {
        time.0 - self.base.0
    }

    /// The task with this marker, if it is one of the script.
    pub(crate) fn job(&self, marker: &str) -> Option<&Job> {
        self.plan.jobs.iter().find(|job| job.name() == marker.trim_end())
    }

    /// Says whether all trouble is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// All trouble is over.
    pub(crate) fn set_over(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            self.trace("all trouble is over");
        }
    }

    /// The row of the plan's execution could not be read, for a moment at least.
    pub(crate) fn note_damage(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// The execution whose row could not be read: task and agent. It may come to anything.
    pub(crate) fn damaged(&self) -> Option<(&Job, &'static str)> {
        self.plan.damaged().filter(|_| self.damaged.load(Ordering::Relaxed))
    }

    /// Says whether this execution is that one.
    pub(crate) fn is_damaged(&self, task: &str, agent: &str) -> bool {
        self.damaged()
            .is_some_and(|(job, on)| job.name() == task && on == agent)
    }

    /// Asks the cloud to close an agent's link.
    pub(crate) fn cut(&self, agent: &'static str) {
        self.cuts.lock().unwrap().push(agent);
    }

    /// The next link that the cloud is to close.
    pub(crate) fn next_cut(&self) -> Option<&'static str> {
        self.cuts.lock().unwrap().pop()
    }

    /// The cloud has closed this link.
    pub(crate) fn cut_is_done(&self, agent: &'static str) {
        self.cut_done.lock().unwrap().push(agent);
    }

    /// Says whether it did, which it does only when there was a link.
    pub(crate) fn was_cut(&self, agent: &'static str) -> bool {
        self.cuts.lock().unwrap().clear();
        std::mem::take(&mut *self.cut_done.lock().unwrap()).contains(&agent)
    }

    /// Makes the way of a client to the API.
    pub(crate) fn api(&self, host: &str) -> Api {
        Api::new(host, self.meter.clone(), &self.root, API_TOKEN)
    }
}
