//! What the process launcher, its socket and its watchers have in common: the attempts, the fence, and what is new.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opslink::{id::AttemptId, pb, reason::Reason, time::UnixMicros};
use tokio::{sync::Notify, time::Instant};

use super::{
    Notices, Order, Phase, Refusal,
    early_cancels::EarlyCancels,
    slot::{Events, Slot},
};
use crate::{
    crashpoint,
    journal::{AttemptDir, Closing, Fence, Past, Remnants, Unstarted, close_if_orphaned},
    link::EXPIRY_TOLERANCE,
};

/// How often the agent looks whether a runner that it cannot hear still lives.
const ORPHAN_CHECK_EVERY: Duration = Duration::from_millis(500);

/// How long a disk may fail for another reason than being full, until the end of a runner that is known to be gone is told
/// without it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Shared {
    pub attempts: PathBuf,
    slots: Mutex<Slots>,
    fence: Mutex<Fence>,
    pub notices: Notices,
    /// Fires when there may be something to tell a runner.
    pub wake_runners: Notify,
}

/// Attempts, and cancels of those that are not here: under one lock, so that none falls between the two.
#[derive(Default)]
pub(super) struct Slots {
    pub here: BTreeMap<AttemptId, Slot>,
    pub early_cancels: EarlyCancels,
}

impl Shared {
    pub(super) fn new(attempts: PathBuf, here: BTreeMap<AttemptId, Slot>, fence: Fence) -> Self {
        let slots = Slots {
            here,
            early_cancels: EarlyCancels::default(),
        };
        Self {
            attempts,
            slots: Mutex::new(slots),
            fence: Mutex::new(fence),
            notices: Notices::default(),
            wake_runners: Notify::new(),
        }
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fence(&self) -> MutexGuard<'_, Fence> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the attempt into the journal: its folder, then durably that it was taken.
    ///
    /// Whether it was here before is asked first of all: of what may have run nobody says that nothing ran, however late
    /// or canceled it is by now.
    pub(super) fn make(&self, order: &Order) -> Result<AttemptDir, Refusal> {
        let place = order.place();
        if let Some(past) = self.fence().past(order.id, place) {
            return Err(Refusal::of(past));
        }
        if self.attempts.join(order.id.to_string()).exists() {
            return Err(Refusal::replayed());
        }
        if self.slots().early_cancels.holds(order.id) {
            return Err(Refusal::canceled());
        }
        if order.is_too_late() {
            return Err(Refusal::too_late());
        }
        let dir =
            AttemptDir::create(&self.attempts, order.id, &order.signed, &order.permit).map_err(|error| match error
                .kind()
            {
                io::ErrorKind::AlreadyExists => Refusal::replayed(),
                _ => unwritable(&error),
            })?;
        crashpoint!("launch.folder_made");
        // Asked again after the folder was made: a folder that is just being forgotten is in the fence before it goes.
        // And of two attempts with one number, one is taken.
        let mut fence = self.fence();
        if let Some(past) = fence.past(order.id, place) {
            dir.remove().ok();
            return Err(Refusal::of(past));
        }
        let dies = UnixMicros(order.envelope.expires_time_us).plus(EXPIRY_TOLERANCE);
        if let Err(error) = fence.take(order.id, place, dies, UnixMicros::now()) {
            dir.remove().ok();
            return Err(unwritable(&error));
        }
        drop(fence);
        crashpoint!("launch.taken");
        let mut slots = self.slots();
        let why = if slots.early_cancels.holds(order.id) {
            Unstarted::Canceled
        } else if order.is_too_late() {
            // The disk may have taken long.
            Unstarted::TooLate
        } else {
            // From now on a cancel finds the attempt here, and its folder before the runner does.
            slots.here.insert(order.id, Slot::new(dir.clone(), Phase::Running, 0));
            return Ok(dir);
        };
        drop(slots);
        self.give_back(&dir, why);
        Err(Refusal::of(Past::Refused(why)))
    }

    /// Removes the folder of an attempt that was taken and did not start; whoever sends it again is told the same.
    pub(super) fn give_back(&self, dir: &AttemptDir, why: Unstarted) {
        if let Err(error) = self.fence().refuse(dir.id(), why, UnixMicros::now()) {
            tracing::warn!(attempt = %dir.id(), %error, "that an attempt did not start is written down later");
        }
        dir.remove().ok();
    }

    /// Removes the folder of an attempt that is over, whatever the disk says of writing that down.
    pub(super) fn close_and_remove(&self, dir: &AttemptDir) -> io::Result<()> {
        if let Err(error) = self.fence().close(dir.id(), UnixMicros::now()) {
            tracing::warn!(attempt = %dir.id(), %error, "the end of an attempt is written down later");
        }
        crashpoint!("forget.fence_closed");
        dir.remove()
    }

    /// A runner has dialed. `false` when this agent does not know its attempt.
    pub(super) fn connected(&self, id: AttemptId) -> bool {
        let mut slots = self.slots();
        let Some(slot) = slots.here.get_mut(&id) else {
            return false;
        };
        slot.connections += 1;
        true
    }

    /// `untold` when the runner is of a version that says its end also when its journal has none.
    pub(super) fn disconnected(self: &Arc<Self>, id: AttemptId, untold: bool) {
        let mut slots = self.slots();
        let Some(slot) = slots.here.get_mut(&id) else { return };
        slot.connections = slot.connections.saturating_sub(1);
        let (is_alone, has_ended) = (slot.connections == 0, slot.phase == Phase::Ended);
        drop(slots);
        if is_alone && !has_ended {
            Self::watch(self, id);
        } else if is_alone && untold {
            Self::close_soon(self, id, Failing::default());
        }
    }

    /// What a runner should know: whether to cancel, and what the cloud has. `None` once the attempt is gone.
    pub(super) fn orders(&self, id: AttemptId) -> Option<(bool, u64)> {
        self.slots().here.get(&id).map(|slot| (slot.cancel, slot.acknowledged))
    }

    pub(super) fn heard_cancel(&self, id: AttemptId) {
        if let Some(slot) = self.slots().here.get_mut(&id) {
            slot.cancel_heard = true;
        }
    }

    pub(super) fn kill_if_stuck(&self, id: AttemptId) {
        let dir = match self.slots().here.get(&id) {
            Some(slot) if !slot.cancel_heard && slot.phase != Phase::Ended => slot.dir.clone(),
            _ => return,
        };
        let Some(runner) = dir.record().ok().and_then(|record| record.runner) else {
            return;
        };
        tracing::warn!(attempt = %id, pid = runner.pid, "a runner does not hear its cancel and is killed");
        runner.kill();
    }

    /// Something is new in the attempt's journal.
    pub(super) fn note(&self, id: AttemptId, phase: Phase, events: Events) {
        let mut slots = self.slots();
        let Some(slot) = slots.here.get_mut(&id) else { return };
        slot.phase = slot.phase.max(phase);
        slot.grown(events);
        let phase = slot.phase;
        drop(slots);
        self.notices.note(id, phase);
    }

    /// Looks after an attempt whose runner does not talk, until it does or is gone.
    pub(super) fn watch(shared: &Arc<Self>, id: AttemptId) {
        let shared = Arc::clone(shared);
        // Ends when the runner redials, when its journal is closed, or when the attempt is forgotten.
        tokio::spawn(async move {
            let mut failing = Failing::default();
            loop {
                // First of all: a runner that was just forked dials soon.
                tokio::time::sleep(ORPHAN_CHECK_EVERY).await;
                if !shared.is_silent(id) || Self::close(&shared, id, &mut failing).await {
                    return;
                }
            }
        });
    }

    /// Looks after every attempt whose runner does not talk: whoever would have told its end is gone.
    pub(super) fn watch_silent(shared: &Arc<Self>) {
        let ids: Vec<_> = shared.slots().here.keys().copied().collect();
        for id in ids.into_iter().filter(|id| shared.is_silent(*id)) {
            Self::watch(shared, id);
        }
    }

    pub(super) fn is_silent(&self, id: AttemptId) -> bool {
        self.slots().here.get(&id).is_some_and(Slot::is_silent)
    }

    /// A runner is gone, and its journal may lack an end.
    pub(super) fn runner_ended(shared: &Arc<Self>, id: AttemptId, is_well: bool) {
        let has_ended = match shared.slots().here.get(&id) {
            Some(slot) => slot.phase == Phase::Ended,
            None => return,
        };
        match (is_well, has_ended) {
            (true, true) => {}
            // Its last word is on the way.
            (true, false) => Self::watch(shared, id),
            (false, _) => Self::close_soon(shared, id, Failing::of_the_dead()),
        }
    }

    /// Closes a journal, now or as soon as its runner is really gone and the disk takes it.
    pub(super) fn close_soon(shared: &Arc<Self>, id: AttemptId, mut failing: Failing) {
        let shared = Arc::clone(shared);
        // Ends when the journal is closed, or when the attempt is forgotten.
        tokio::spawn(async move {
            while !Self::close(&shared, id, &mut failing).await {
                tokio::time::sleep(ORPHAN_CHECK_EVERY).await;
            }
        });
    }

    /// Closes the journal of an attempt whose runner is gone. `false` while it lives, or the disk does not take the end.
    async fn close(shared: &Arc<Self>, id: AttemptId, failing: &mut Failing) -> bool {
        let dir = shared.slots().here.get(&id).map(|slot| slot.dir.clone());
        let Some(dir) = dir else { return true };
        let closing = tokio::task::spawn_blocking(move || {
            close_if_orphaned(&dir, Remnants::End).map_err(|error| (error, is_gone(&dir)))
        });
        match closing.await {
            Ok(Ok(Closing::Closed { next_seq })) => {
                shared.note(id, Phase::Ended, Events::Counted(next_seq));
                true
            }
            Ok(Ok(Closing::RunnerLives | Closing::SomethingLeft)) | Err(_) => false,
            Ok(Err((error, is_gone))) => {
                if failing.is_first() {
                    tracing::warn!(attempt = %id, %error, "an orphaned attempt could not be closed");
                }
                if has_no_room(&error) || !failing.is_hopeless(is_gone) {
                    // Room may come, or a runner be heard again.
                    return false;
                }
                shared.end_unwritten(id);
                true
            }
        }
    }

    /// Ends an attempt whose journal takes no end: the cloud shall not wait for it.
    fn end_unwritten(&self, id: AttemptId) {
        let mut slots = self.slots();
        let Some(slot) = slots.here.get_mut(&id) else { return };
        let message = "the process that did the work is gone, and the agent's disk takes no word of how it ended; \
                       whether it finished cannot be known. See the agent's disk";
        let now = UnixMicros::now().0;
        slot.end_unwritten(pb::Outcome {
            kind: pb::OutcomeKind::Lost.into(),
            reason: Reason::RunnerLost.code().to_owned(),
            message: message.to_owned(),
            finished_time_us: now,
            ..Default::default()
        });
        slot.phase = Phase::Ended;
        drop(slots);
        self.notices.note(id, Phase::Ended);
    }
}

/// Since when a journal cannot be closed.
#[derive(Default)]
pub(super) struct Failing {
    is_told: bool,
    /// Its runner was heard to end, whatever can be seen of that.
    is_dead: bool,
    /// Since when it is the disk that fails, and not the look whether the runner is gone.
    since: Option<Instant>,
}

impl Failing {
    fn of_the_dead() -> Self {
        Self {
            is_dead: true,
            ..Self::default()
        }
    }

    /// Notes a failure; says whether it is the first.
    fn is_first(&mut self) -> bool {
        !std::mem::replace(&mut self.is_told, true)
    }

    /// Says whether it is of no use to wait any longer. A runner that cannot be looked for may live: it is waited for.
    fn is_hopeless(&mut self, is_gone: bool) -> bool {
        if !is_gone && !self.is_dead {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= GIVE_UP_AFTER
    }
}

/// Says whether the runner of an attempt is known to be gone. No descriptor that is free, or a disk that does not answer,
/// says nothing of it; where there is no lock any more, nothing ever will.
fn is_gone(dir: &AttemptDir) -> bool {
    dir.is_abandoned()
        .unwrap_or_else(|error| error.kind() == io::ErrorKind::NotFound)
}

fn has_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn unwritable(error: &io::Error) -> Refusal {
    if has_no_room(error) {
        Refusal::new(Reason::DiskFull, "no space is left for the agent's journal")
    } else {
        Refusal::unstartable(format!("the journal cannot be written: {error}"))
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
