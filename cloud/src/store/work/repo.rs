//! What can be asked and changed.
//!
//! ```text
//! work_add ─► due ── work_claim ─► leased ── work_done ──► gone       (due again, when it was added meanwhile)
//!              ▲                     │ ├──── work_rest ──► due later, tries counted anew
//!              │                     │ ├──── work_again ─► due later
//!              ├──── lease ended ────┘ └──── work_park ──► parked ── work_add ─► due
//!              └──── work_let_go: whoever claimed it is dead
//! ```
//! What a claim says counts only as long as it is the newest claim of its row: whoever was too slow changes nothing.

use std::time::Duration;

use opslink::time::UnixMicros;

use super::sql;
use crate::store::{
    Result, Store,
    record::{Claim, NewWork},
    tx::{reads, tx_writes, writes},
};

reads! {
    /// When the next work of these kinds may be claimed: at its due time, or at the end of its lease.
    fn work_next(kinds: &[String]) -> Option<UnixMicros>;
}

writes! {
    /// Adds work. What is there already stays one row, is due at the earlier time, and is not parked any more.
    fn work_add(work: Vec<NewWork>) -> ();
    /// The claim holds until then: the work takes its time.
    fn work_keep(claim: Claim, lease_until: UnixMicros) -> ();
    /// The work was done: its row goes, unless it was added again meanwhile.
    fn work_done(claim: Claim) -> ();
    /// The work went well and is to be looked at again, not before `due_at`: its tries are counted anew.
    fn work_rest(claim: Claim, due_at: UnixMicros) -> ();
    /// The work is to be tried again, not before `due_at`.
    fn work_again(claim: Claim, due_at: UnixMicros) -> ();
    /// Claims of this kind end now and are due at `now`: whoever made them is known to be dead. Its word counts no more.
    fn work_let_go(kind: String, now: UnixMicros) -> ();
    /// The work is set aside: trying again would not help. If it was added again meanwhile it is due instead.
    fn work_park(claim: Claim, reason: String) -> ();
}

tx_writes! {
    /// Claims work of these kinds that is due, the longest due first, at most `limit`.
    fn work_claim(kinds: Vec<String>, now: UnixMicros, lease: Duration, limit: u32) -> Vec<Claim>;
}

impl Store {
    /// Claims work of these kinds that is due, the longest due first, at most `limit`. Writes nothing when none is.
    ///
    /// # Errors
    /// The database is away.
    pub async fn work_claim(&self, kinds: &[&str], now: UnixMicros, lease: Duration, limit: u32) -> Result<Vec<Claim>> {
        let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        if self.work_next(&kinds).await?.is_none_or(|next| next > now) {
            return Ok(Vec::new());
        }
        self.write((kinds, now, lease, limit), |tx, (kinds, now, lease, limit)| {
            Box::pin(tx.work_claim(kinds, now, lease, limit))
        })
        .await
    }
}
