//! The store in maps, for the simulation: deterministic, nothing survives the process.
//!
//! One mutex around one [`State`], never held across an await, so every call is one atomic step and nothing here ever
//! waits. Only ordered maps: two runs with the same calls give the same answers in the same order.
//! The rules live in `people`, `fleet`, `work` and `output`; this file only takes the lock.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use opslink::{
    id::{AgentId, AttemptId, TaskId, TokenId, UserId},
    task::ExecutionState,
    time::UnixMicros,
};

use super::{Result, Store, record::*};

mod fleet;
mod output;
mod people;
mod work;

/// The store of the simulation and of unit tests.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held can only come from a bug in this module; the maps are still the best truth.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything there is.
#[derive(Debug, Default)]
struct State {
    settings: BTreeMap<String, Vec<u8>>,
    users: BTreeMap<UserId, User>,
    sessions: BTreeMap<Vec<u8>, Session>,
    tokens: BTreeMap<TokenId, Token>,
    join_tokens: BTreeMap<TokenId, JoinToken>,
    agents: BTreeMap<AgentId, Agent>,
    tasks: BTreeMap<TaskId, Task>,
    executions: BTreeMap<(TaskId, AgentId), Execution>,
    attempts: BTreeMap<AttemptId, Attempt>,
    chunks: BTreeMap<AttemptId, Vec<Chunk>>,
    audit: Vec<AuditRow>,
    revision: u64,
}

impl State {
    fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn write_audit(&mut self, audit: Audit) {
        let id = i64::try_from(self.audit.len()).unwrap_or(i64::MAX - 1) + 1;
        let Audit {
            time,
            actor,
            actor_role,
            action,
            resource,
            detail,
            peer,
        } = audit;
        self.audit.push(AuditRow {
            id,
            time,
            actor,
            actor_role,
            action: action.to_owned(),
            resource,
            detail,
            peer,
        });
    }

    fn audit_list(&self, before: Option<i64>, limit: u32) -> Vec<AuditRow> {
        let below = |row: &&AuditRow| before.is_none_or(|before| row.id < before);
        self.audit
            .iter()
            .rev()
            .filter(below)
            .take(limit as usize)
            .cloned()
            .collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn setting_get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.lock().settings.get(key).cloned())
    }

    async fn setting_init(&self, key: &str, value: &[u8]) -> Result<Vec<u8>> {
        Ok(self
            .lock()
            .settings
            .entry(key.to_owned())
            .or_insert_with(|| value.to_vec())
            .clone())
    }

    async fn user_insert(&self, user: User, audit: Audit) -> Result<()> {
        self.lock().user_insert(user, audit)
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>> {
        Ok(self.lock().users.values().find(|user| user.name == name).cloned())
    }

    async fn user_get(&self, id: UserId) -> Result<Option<User>> {
        Ok(self.lock().users.get(&id).cloned())
    }

    async fn user_count(&self) -> Result<u64> {
        Ok(self.lock().users.len() as u64)
    }

    async fn user_set_password(
        &self,
        id: UserId,
        password_hash: &str,
        keep: Option<&[u8]>,
        audit: Audit,
    ) -> Result<()> {
        self.lock().user_set_password(id, password_hash, keep, audit)
    }

    async fn session_insert(&self, session: Session, audit: Audit) -> Result<()> {
        self.lock().session_insert(session, audit)
    }

    async fn session_get(&self, secret_hash: &[u8]) -> Result<Option<(Session, User)>> {
        Ok(self.lock().session_get(secret_hash))
    }

    async fn session_remove(&self, secret_hash: &[u8], audit: Audit) -> Result<()> {
        self.lock().session_remove(secret_hash, audit);
        Ok(())
    }

    async fn token_insert(&self, token: Token, audit: Audit) -> Result<()> {
        self.lock().token_insert(token, audit)
    }

    async fn token_by_hash(&self, secret_hash: &[u8]) -> Result<Option<Token>> {
        Ok(self
            .lock()
            .tokens
            .values()
            .find(|token| token.secret_hash == secret_hash)
            .cloned())
    }

    async fn token_list(&self) -> Result<Vec<Token>> {
        let mut tokens: Vec<_> = self.lock().tokens.values().cloned().collect();
        tokens.sort_by_key(|token| std::cmp::Reverse((token.created_at, token.id)));
        Ok(tokens)
    }

    async fn token_revoke(&self, id: TokenId, audit: Audit) -> Result<()> {
        self.lock().token_revoke(id, audit)
    }

    async fn token_touch(&self, id: TokenId, time: UnixMicros) -> Result<()> {
        self.lock().token_touch(id, time);
        Ok(())
    }

    async fn join_token_insert(&self, token: JoinToken, audit: Audit) -> Result<()> {
        self.lock().join_token_insert(token, audit)
    }

    async fn join_token_list(&self) -> Result<Vec<JoinToken>> {
        let mut tokens: Vec<_> = self.lock().join_tokens.values().cloned().collect();
        tokens.sort_by_key(|token| std::cmp::Reverse((token.created_at, token.id)));
        Ok(tokens)
    }

    async fn join_token_revoke(&self, id: TokenId, audit: Audit) -> Result<()> {
        self.lock().join_token_revoke(id, audit)
    }

    async fn agent_join(
        &self,
        token: TokenId,
        secret_hash: &[u8],
        agent: NewAgent,
        audit: Audit,
    ) -> Result<JoinResult> {
        Ok(self.lock().agent_join(token, secret_hash, agent, audit))
    }

    async fn agent_get(&self, id: AgentId) -> Result<Option<Agent>> {
        Ok(self.lock().agents.get(&id).cloned())
    }

    async fn agent_list(&self) -> Result<Vec<Agent>> {
        Ok(self.lock().agent_list())
    }

    async fn agent_set_labels(&self, id: AgentId, labels: BTreeMap<String, String>, audit: Audit) -> Result<Agent> {
        self.lock().agent_set_labels(id, labels, audit)
    }

    async fn agent_remove(&self, id: AgentId, audit: Audit) -> Result<()> {
        self.lock().agent_remove(id, audit)
    }

    async fn agent_attach(
        &self,
        id: AgentId,
        facts: Bytes,
        connections: Vec<(String, String, bool)>,
        time: UnixMicros,
    ) -> Result<u64> {
        self.lock().agent_attach(id, facts, connections, time)
    }

    async fn agent_seen(&self, seen: Vec<AgentSeen>) -> Result<()> {
        self.lock().agent_seen(&seen);
        Ok(())
    }

    async fn task_create(&self, task: Task, executions: Vec<Execution>, audit: Audit) -> Result<TaskCreated> {
        self.lock().task_create(task, executions, audit)
    }

    async fn task_get(&self, id: TaskId) -> Result<Option<Task>> {
        Ok(self.lock().tasks.get(&id).cloned())
    }

    async fn task_by_prefix(&self, prefix: &str) -> Result<Vec<TaskId>> {
        let state = self.lock();
        Ok(state
            .tasks
            .keys()
            .filter(|id| id.to_string().starts_with(prefix))
            .take(2)
            .copied()
            .collect())
    }

    async fn task_list(&self, filter: TaskFilter) -> Result<Vec<Task>> {
        Ok(self.lock().task_list(&filter))
    }

    async fn task_counts(&self, ids: &[TaskId]) -> Result<BTreeMap<TaskId, BTreeMap<ExecutionState, u32>>> {
        Ok(self.lock().task_counts(ids))
    }

    async fn task_request_cancel(&self, id: TaskId, agents: &[AgentId], audit: Audit) -> Result<()> {
        self.lock().task_request_cancel(id, agents, audit)
    }

    async fn execution_list(&self, task: TaskId, after: Option<&str>, limit: u32) -> Result<Vec<Execution>> {
        Ok(self.lock().execution_list(task, after, limit))
    }

    async fn execution_get(&self, task: TaskId, agent: AgentId) -> Result<Option<Execution>> {
        Ok(self.lock().executions.get(&(task, agent)).cloned())
    }

    async fn execution_by_attempt(&self, attempt: AttemptId) -> Result<Option<Execution>> {
        let state = self.lock();
        let attempt = state.attempts.get(&attempt);
        Ok(attempt
            .and_then(|attempt| state.executions.get(&(attempt.task_id, attempt.agent_id)))
            .cloned())
    }

    async fn execution_changes(&self, task: TaskId, after: u64, limit: u32) -> Result<Vec<Execution>> {
        Ok(self.lock().execution_changes(task, after, limit))
    }

    async fn execution_open(&self, agent: AgentId) -> Result<Vec<Execution>> {
        let state = self.lock();
        let open = |execution: &&Execution| execution.agent_id == agent && !execution.state.is_terminal();
        Ok(state.executions.values().filter(open).cloned().collect())
    }

    async fn execution_open_of_task(&self, task: TaskId) -> Result<Vec<Execution>> {
        let state = self.lock();
        Ok(state
            .executions_of(task)
            .filter(|execution| !execution.state.is_terminal())
            .cloned()
            .collect())
    }

    async fn execution_expired(&self, now: UnixMicros, limit: u32) -> Result<Vec<Execution>> {
        Ok(self.lock().execution_expired(now, limit))
    }

    async fn execution_apply(
        &self,
        writes: Vec<ExecutionWrite>,
        audit: Option<Audit>,
    ) -> Result<Vec<(bool, Execution)>> {
        self.lock().execution_apply(writes, audit)
    }

    async fn attempt_list(&self, task: TaskId) -> Result<Vec<Attempt>> {
        Ok(self.lock().attempt_list(task))
    }

    async fn attempt_get(&self, id: AttemptId) -> Result<Option<Attempt>> {
        Ok(self.lock().attempts.get(&id).cloned())
    }

    async fn chunk_append(&self, chunks: Vec<Chunk>) -> Result<Vec<Appended>> {
        let mut state = self.lock();
        Ok(chunks.into_iter().map(|chunk| state.chunk_append(chunk)).collect())
    }

    async fn chunk_next_seq(&self, attempts: &[AttemptId]) -> Result<Vec<u64>> {
        let state = self.lock();
        Ok(attempts.iter().map(|attempt| state.chunk_next_seq(*attempt)).collect())
    }

    async fn chunk_read(&self, attempt: AttemptId, start: ChunkStart, max_bytes: usize) -> Result<Vec<Chunk>> {
        Ok(self.lock().chunk_read(attempt, start, max_bytes))
    }

    async fn chunk_index(&self, attempt: AttemptId, from_seq: u64, limit: u32) -> Result<Vec<Chunk>> {
        Ok(self.lock().chunk_index(attempt, from_seq, limit))
    }

    async fn audit_list(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRow>> {
        Ok(self.lock().audit_list(before, limit))
    }

    async fn audit_insert(&self, audit: Audit) -> Result<()> {
        self.lock().write_audit(audit);
        Ok(())
    }
}
