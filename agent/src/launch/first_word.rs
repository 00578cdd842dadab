//! Ends runners that were forked and are not heard: stopped, or held up by a disk, before they dial. Nobody else would:
//! a runner sets its own alarm when it begins, and one that is stopped hears no cancel.
//!
//! ```text
//! forked ──► heard                             socket.rs looks after it
//!   │  └───► 30 s, not begun by its journal ──► killed, closed: nothing ran
//!   └──────► 20 s after a cancel ─────────────► killed, closed
//! ```

use std::{sync::Arc, time::Duration};

use opslink::id::AttemptId;

use super::{
    shared::{Failing, Shared},
    socket::HEARD_WITHIN,
};
use crate::journal::Process;

/// So long a runner may take from its fork to its first word. It takes some milliseconds; a machine that is overloaded
/// beyond this has other worries.
const FIRST_WORD_WITHIN: Duration = Duration::from_secs(30);

/// Almost all are heard by then: only of the others the machine is asked who they are.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Who is ended when nobody hears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unheard {
    /// A runner that has not begun. One that has may be at work, and has an alarm of its own.
    NotBegun,
    /// A runner that does not hear its cancel.
    Canceled,
}

impl Shared {
    /// Looks after an attempt whose runner was just forked, with this process number.
    pub(super) fn watch_first_word(shared: &Arc<Self>, id: AttemptId, pid: u32) {
        let shared = Arc::clone(shared);
        // Ends after a second for almost all, and otherwise when the time for a first word is over.
        tokio::spawn(async move {
            tokio::time::sleep(LOOK_AFTER).await;
            if !shared.is_silent(id) {
                return;
            }
            // So soon after the fork no other process has got its number.
            let forked = Process::read(pid);
            if let Some(slot) = shared.slots().here.get_mut(&id) {
                slot.forked = forked;
            }
            tokio::time::sleep(FIRST_WORD_WITHIN.saturating_sub(LOOK_AFTER)).await;
            Self::end_unheard(&shared, id, Unheard::NotBegun).await;
        });
    }

    /// Looks after an attempt that is to end: [`super::socket`] does so for runners that are connected.
    pub(super) fn watch_cancel(shared: &Arc<Self>, id: AttemptId) {
        let shared = Arc::clone(shared);
        // Ends when the time for hearing the cancel is over.
        tokio::spawn(async move {
            tokio::time::sleep(HEARD_WITHIN).await;
            Self::end_unheard(&shared, id, Unheard::Canceled).await;
        });
    }

    async fn end_unheard(shared: &Arc<Self>, id: AttemptId, whom: Unheard) {
        if !shared.is_silent(id) {
            return;
        }
        let killer = Arc::clone(shared);
        // The disk is asked, which may be what holds the runner up.
        let is_over = tokio::task::spawn_blocking(move || killer.kill_unheard(id, whom)).await;
        if is_over.unwrap_or(false) {
            Self::close_soon(shared, id, Failing::default());
        }
    }

    /// Says whether the attempt is to be closed.
    fn kill_unheard(&self, id: AttemptId, whom: Unheard) -> bool {
        let (dir, forked) = match self.slots().here.get(&id) {
            Some(slot) if slot.is_silent() && !slot.cancel_heard => (slot.dir.clone(), slot.forked.clone()),
            _ => return false,
        };
        let begun = match (dir.record(), whom) {
            (Ok(record), _) => record.runner,
            // It may be at work.
            (Err(_), Unheard::NotBegun) => return false,
            (Err(_), Unheard::Canceled) => None,
        };
        if begun.is_some() && whom == Unheard::NotBegun {
            return false;
        }
        // Without either there is none, or it will find that the attempt is closed.
        if let Some(runner) = begun.or(forked) {
            tracing::warn!(attempt = %id, pid = runner.pid, "a runner that is not heard is killed");
            runner.kill();
        }
        true
    }
}
