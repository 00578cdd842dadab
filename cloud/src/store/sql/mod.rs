//! The store in SQLite or PostgreSQL, through sea-orm. Entities, SQL and migrations never leave this module.
//!
//! ```text
//! SqlStore ─► Engine ─► SQLite: readers │ group_commit (one writer task per file)
//!     │         └─────► PostgreSQL: a pool, ordinary transactions, run again after a lost race
//!     └─ repo: the statements, the same for both ─► entity, statement, convert
//! ```

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use opslink::{
    id::{AgentId, AttemptId, TaskId, TokenId, UserId},
    task::ExecutionState,
    time::UnixMicros,
};

use super::{Result, Store, record::*};

mod convert;
mod engine;
mod entity;
mod failure;
mod group_commit;
mod lock;
mod migration;
mod open;
mod postgres;
mod repo;
mod small_output;
mod sqlite;
mod statement;

use engine::Engine;
use failure::Failure;
pub use lock::DatabaseLock;
pub use open::{OpenError, without_password};
use repo::{apply, audit, fleet, people, task, work};

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most connections that read, per file (SQLite); most connections at all (PostgreSQL).
    pub connections: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 8 }
    }
}

/// The store in a database.
#[derive(Debug)]
pub struct SqlStore {
    main: Engine,
    chunks: Engine,
}

impl SqlStore {
    /// Opens the store at this URL, makes what is missing and applies migrations.
    ///
    /// `sqlite:///absolute/folder` is a data folder with `main.db` and `chunks.db`, for one process at a time: its
    /// lock is held until the store is dropped and its queues are empty. `postgres://…` is a database.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is left locked.
    pub async fn open(url: &str, options: Options) -> std::result::Result<Arc<dyn Store>, OpenError> {
        let (main, chunks) = open::open(url, options.connections).await?;
        Ok(Arc::new(Self { main, chunks }))
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn ping(&self) -> Result<()> {
        Ok(self.main.read().ping().await.map_err(Failure::from)?)
    }

    async fn setting_get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(people::setting_get(self.main.read(), key).await?)
    }

    async fn setting_init(&self, key: &str, value: &[u8]) -> Result<Vec<u8>> {
        self.main
            .write((key.to_owned(), value.to_vec()), |tx, (key, value)| {
                Box::pin(people::setting_init(tx, key, value))
            })
            .await
    }

    async fn user_insert(&self, user: User, audit: Audit) -> Result<()> {
        self.main
            .write((user, audit), |tx, (user, audit)| {
                Box::pin(people::user_insert(tx, user, audit))
            })
            .await
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>> {
        Ok(people::user_by_name(self.main.read(), name).await?)
    }

    async fn user_get(&self, id: UserId) -> Result<Option<User>> {
        Ok(people::user_get(self.main.read(), id).await?)
    }

    async fn user_count(&self) -> Result<u64> {
        Ok(people::user_count(self.main.read()).await?)
    }

    async fn user_set_password(
        &self,
        id: UserId,
        password_hash: &str,
        keep: Option<&[u8]>,
        audit: Audit,
    ) -> Result<()> {
        self.main
            .write(
                (id, password_hash.to_owned(), keep.map(<[u8]>::to_vec), audit),
                |tx, (id, hash, keep, audit)| {
                    Box::pin(people::user_set_password(tx, *id, hash, keep.as_deref(), audit))
                },
            )
            .await
    }

    async fn session_insert(&self, session: Session, audit: Audit) -> Result<()> {
        self.main
            .write((session, audit), |tx, (session, audit)| {
                Box::pin(people::session_insert(tx, session, audit))
            })
            .await
    }

    async fn session_get(&self, secret_hash: &[u8]) -> Result<Option<(Session, User)>> {
        Ok(people::session_get(self.main.read(), secret_hash).await?)
    }

    async fn session_remove(&self, secret_hash: &[u8], audit: Audit) -> Result<()> {
        self.main
            .write((secret_hash.to_vec(), audit), |tx, (secret_hash, audit)| {
                Box::pin(people::session_remove(tx, secret_hash, audit))
            })
            .await
    }

    async fn token_insert(&self, token: Token, audit: Audit) -> Result<()> {
        self.main
            .write((token, audit), |tx, (token, audit)| {
                Box::pin(people::token_insert(tx, token, audit))
            })
            .await
    }

    async fn token_by_hash(&self, secret_hash: &[u8]) -> Result<Option<Token>> {
        Ok(people::token_by_hash(self.main.read(), secret_hash).await?)
    }

    async fn token_list(&self) -> Result<Vec<Token>> {
        Ok(people::token_list(self.main.read()).await?)
    }

    async fn token_revoke(&self, id: TokenId, audit: Audit) -> Result<()> {
        self.main
            .write((id, audit), |tx, (id, audit)| {
                Box::pin(people::token_revoke(tx, *id, audit))
            })
            .await
    }

    async fn token_touch(&self, id: TokenId, time: UnixMicros) -> Result<()> {
        self.main
            .write((id, time), |tx, (id, time)| {
                Box::pin(people::token_touch(tx, *id, *time))
            })
            .await
    }

    async fn join_token_insert(&self, token: JoinToken, audit: Audit) -> Result<()> {
        self.main
            .write((token, audit), |tx, (token, audit)| {
                Box::pin(fleet::join_token_insert(tx, token, audit))
            })
            .await
    }

    async fn join_token_list(&self) -> Result<Vec<JoinToken>> {
        Ok(fleet::join_token_list(self.main.read()).await?)
    }

    async fn join_token_revoke(&self, id: TokenId, audit: Audit) -> Result<()> {
        self.main
            .write((id, audit), |tx, (id, audit)| {
                Box::pin(fleet::join_token_revoke(tx, *id, audit))
            })
            .await
    }

    async fn agent_join(
        &self,
        token: TokenId,
        secret_hash: &[u8],
        agent: NewAgent,
        audit: Audit,
    ) -> Result<JoinResult> {
        self.main
            .write(
                (token, secret_hash.to_vec(), agent, audit),
                |tx, (token, hash, agent, audit)| Box::pin(fleet::agent_join(tx, *token, hash, agent, audit)),
            )
            .await
    }

    async fn agent_get(&self, id: AgentId) -> Result<Option<Agent>> {
        Ok(fleet::agent_get(self.main.read(), id).await?)
    }

    async fn agent_list(&self) -> Result<Vec<Agent>> {
        Ok(fleet::agent_list(self.main.read()).await?)
    }

    async fn agent_set_labels(&self, id: AgentId, labels: BTreeMap<String, String>, audit: Audit) -> Result<Agent> {
        self.main
            .write((id, labels, audit), |tx, (id, labels, audit)| {
                Box::pin(fleet::agent_set_labels(tx, *id, labels, audit))
            })
            .await
    }

    async fn agent_remove(&self, id: AgentId, audit: Audit) -> Result<()> {
        self.main
            .write((id, audit), |tx, (id, audit)| {
                Box::pin(fleet::agent_remove(tx, *id, audit))
            })
            .await
    }

    async fn agent_attach(
        &self,
        id: AgentId,
        facts: Bytes,
        connections: Vec<(String, String, bool)>,
        time: UnixMicros,
    ) -> Result<u64> {
        self.main
            .write((id, facts, connections, time), |tx, (id, facts, connections, time)| {
                Box::pin(fleet::agent_attach(tx, *id, facts, connections, *time))
            })
            .await
    }

    async fn agent_seen(&self, seen: Vec<AgentSeen>) -> Result<()> {
        if seen.is_empty() {
            return Ok(());
        }
        self.main
            .write(seen, |tx, seen| Box::pin(fleet::agent_seen(tx, seen)))
            .await
    }

    async fn task_create(&self, task: Task, executions: Vec<Execution>, audit: Audit) -> Result<TaskCreated> {
        self.main
            .write((task, executions, audit), |tx, (task, executions, audit)| {
                Box::pin(task::create(tx, task, executions, audit))
            })
            .await
    }

    async fn task_get(&self, id: TaskId) -> Result<Option<Task>> {
        Ok(task::get(self.main.read(), id).await?)
    }

    async fn task_by_prefix(&self, prefix: &str) -> Result<Vec<TaskId>> {
        Ok(task::by_prefix(self.main.read(), prefix).await?)
    }

    async fn task_list(&self, filter: TaskFilter) -> Result<Vec<Task>> {
        Ok(task::list(self.main.read(), &filter).await?)
    }

    async fn task_counts(&self, ids: &[TaskId]) -> Result<BTreeMap<TaskId, BTreeMap<ExecutionState, u32>>> {
        Ok(task::counts(self.main.read(), ids).await?)
    }

    async fn task_request_cancel(&self, id: TaskId, agents: &[AgentId], audit: Audit) -> Result<()> {
        self.main
            .write((id, agents.to_vec(), audit), |tx, (id, agents, audit)| {
                Box::pin(task::request_cancel(tx, *id, agents, audit))
            })
            .await
    }

    async fn execution_list(&self, task: TaskId, after: Option<&str>, limit: u32) -> Result<Vec<Execution>> {
        Ok(work::list(self.main.read(), task, after, limit).await?)
    }

    async fn execution_get(&self, task: TaskId, agent: AgentId) -> Result<Option<Execution>> {
        Ok(work::get(self.main.read(), task, agent).await?)
    }

    async fn execution_by_attempt(&self, attempt: AttemptId) -> Result<Option<Execution>> {
        Ok(work::by_attempt(self.main.read(), attempt).await?)
    }

    async fn execution_changes(&self, task: TaskId, after: u64, limit: u32) -> Result<Vec<Execution>> {
        Ok(work::changes(self.main.read(), task, after, limit).await?)
    }

    async fn execution_open(&self, agent: AgentId) -> Result<Vec<Execution>> {
        Ok(work::open_of_agent(self.main.read(), agent).await?)
    }

    async fn execution_open_of_task(&self, task: TaskId) -> Result<Vec<Execution>> {
        Ok(work::open_of_task(self.main.read(), task).await?)
    }

    async fn execution_expired(&self, now: UnixMicros, limit: u32) -> Result<Vec<Execution>> {
        Ok(work::expired(self.main.read(), now, limit).await?)
    }

    async fn execution_apply(
        &self,
        writes: Vec<ExecutionWrite>,
        audit: Option<Audit>,
    ) -> Result<Vec<(bool, Execution)>> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        self.main
            .write((writes, audit), |tx, (writes, audit)| {
                Box::pin(apply::apply(tx, writes, audit.as_ref()))
            })
            .await
    }

    async fn attempt_list(&self, task: TaskId) -> Result<Vec<Attempt>> {
        Ok(work::attempt_list(self.main.read(), task).await?)
    }

    async fn attempt_get(&self, id: AttemptId) -> Result<Option<Attempt>> {
        Ok(work::attempt_get(self.main.read(), id).await?)
    }

    async fn chunk_append(&self, chunks: Vec<Chunk>) -> Result<Vec<Appended>> {
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        self.output_append(chunks).await
    }

    async fn chunk_next_seq(&self, attempts: &[AttemptId]) -> Result<Vec<u64>> {
        self.output_next_seq(attempts).await
    }

    async fn chunk_read(&self, attempt: AttemptId, start: ChunkStart, max_bytes: usize) -> Result<Vec<Chunk>> {
        self.output_read(attempt, start, max_bytes).await
    }

    async fn chunk_index(&self, attempt: AttemptId, from_seq: u64, limit: u32) -> Result<Vec<Chunk>> {
        self.output_index(attempt, from_seq, limit).await
    }

    async fn audit_list(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRow>> {
        Ok(audit::list(self.main.read(), before, limit).await?)
    }

    async fn audit_insert(&self, audit: Audit) -> Result<()> {
        self.main
            .write(audit, |tx, audit| Box::pin(audit::insert(tx, audit)))
            .await
    }
}
