//! The living agents at the start of a cloud, also when the table of presences cannot be read: then each agent is asked for.

use opslink::{id::AgentId, time::UnixMicros};

use crate::store::{Error, Result, Store, record::Agent};

/// Reads the living agents.
///
/// # Errors
/// The database is away, or the agents themselves cannot be read.
pub(super) async fn living(store: &Store) -> Result<Vec<Agent>> {
    match store.agent_list().await {
        Err(error @ Error::Corrupt { .. }) => {
            tracing::error!(%error, "agents are read one by one with their last signs of life");
            one_by_one(store).await
        }
        answer => answer,
    }
}

async fn one_by_one(store: &Store) -> Result<Vec<Agent>> {
    let mut agents = store.agent_list_alone().await?;
    for agent in &mut agents {
        agent.last_seen_at = last_seen(store, agent.id).await?;
    }
    Ok(agents)
}

/// One whose last sign of life is not known was seen now: it is not given up for what a disk has lost.
async fn last_seen(store: &Store, agent: AgentId) -> Result<Option<UnixMicros>> {
    match store.presence_get(agent).await {
        Ok(presence) => Ok(presence.map(|presence| presence.last_seen)),
        Err(error) if error.may_pass() => Err(error),
        Err(error) => {
            tracing::error!(agent_id = %agent, %error, "the last sign of life of an agent cannot be read: it counts as seen now");
            Ok(Some(UnixMicros::now()))
        }
    }
}
