//! What can be asked and changed.

use std::collections::BTreeMap;

use opslink::id::{AgentId, TokenId};

use super::sql;
use crate::store::{
    Result, Store,
    record::{Agent, AgentAttach, Audit, JoinResult, NewAgent},
    tx::{reads, tx_writes, writes},
};

reads! {
    /// Finds an agent by id; removed ones too.
    fn agent_get(id: AgentId) -> Option<Agent>;
    /// Finds a living agent by name.
    fn agent_by_name(name: &str) -> Option<Agent>;
    /// All living agents in name order.
    fn agent_list() -> Vec<Agent>;
    /// The same without their last signs of life: for whoever cannot read the table of presences.
    fn agent_list_alone() -> Vec<Agent>;
}

writes! {
    /// Replaces the labels. [`crate::store::Error::NotFound`] when there is no such living agent.
    fn agent_set_labels(id: AgentId, labels: BTreeMap<String, String>, audit: Audit) -> Agent;
    /// Marks as removed. [`crate::store::Error::NotFound`] when there is no such living agent.
    fn agent_remove(id: AgentId, audit: Audit) -> ();
    /// A link came up: stores facts and connections, raises the session epoch, notes where the link is, and returns
    /// the epoch.
    fn agent_attach(attach: AgentAttach) -> u64;
}

tx_writes! {
    /// Consumes the token by one atomic update and stores the agent; of 100 racing calls one wins.
    fn agent_join(token: TokenId, secret_hash: Vec<u8>, agent: NewAgent, audit: Audit) -> JoinResult;
}

impl Store {
    /// Consumes the token by one atomic update and stores the agent; of 100 racing calls one wins.
    ///
    /// # Errors
    /// The database is away.
    pub async fn agent_join(
        &self,
        token: TokenId,
        secret_hash: &[u8],
        agent: NewAgent,
        audit: Audit,
    ) -> Result<JoinResult> {
        self.write(
            (token, secret_hash.to_vec(), agent, audit),
            |tx, (token, hash, agent, audit)| Box::pin(tx.agent_join(token, hash, agent, audit)),
        )
        .await
    }
}
