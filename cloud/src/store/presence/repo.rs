//! What can be asked and changed. A presence begins with the agent's attachment.

use opslink::{id::AgentId, time::UnixMicros};

use super::sql;
use crate::store::{
    Result, Store,
    record::{AgentSeen, Presence},
    tx::{reads, tx_writes, writes},
};

reads! {
    /// Where an agent's newest link is or was.
    fn presence_get(agent: AgentId) -> Option<Presence>;
}

writes! {
    /// The link of this epoch went down: its lease ends now. A newer link is left alone.
    fn presence_end(agent: AgentId, epoch: u64, time: UnixMicros) -> ();
}

tx_writes! {
    /// Notes signs of life, many at once, and extends the leases of those whose link this replica holds.
    fn presence_seen(replica: String, seen: Vec<AgentSeen>, lease_until: UnixMicros) -> ();
}

impl Store {
    /// Notes signs of life, many at once, and extends the leases of those whose link this replica holds.
    ///
    /// # Errors
    /// The database is away.
    pub async fn presence_seen(&self, replica: &str, seen: Vec<AgentSeen>, lease_until: UnixMicros) -> Result<()> {
        if seen.is_empty() {
            return Ok(());
        }
        self.write((replica.to_owned(), seen, lease_until), |tx, (replica, seen, until)| {
            Box::pin(tx.presence_seen(replica, seen, until))
        })
        .await
    }
}
