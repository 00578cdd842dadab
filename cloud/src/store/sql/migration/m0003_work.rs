//! Revisions per task, work (and a row for what 0.1.0 had begun), presences, quarantine, limits of logins, request ids of
//! join tokens; indexes for the questions that are asked most.

use sea_orm::{DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_work"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Narrow rows that change often: SQLite keeps them by key alone, PostgreSQL updates them in place.
        let narrow = match manager.get_database_backend() {
            DbBackend::Postgres => " WITH (fillfactor = 50)",
            _ => " WITHOUT ROWID",
        };
        for table in [REVISION, PRESENCE, LOGIN_LIMIT] {
            super::run(manager, &[&format!("{table}{narrow}")]).await?;
        }
        super::run(manager, REST).await?;
        // Work that 0.1.0 kept in memory: ids as their text.
        let text = |id: &str| match manager.get_database_backend() {
            DbBackend::Postgres => format!("{id}::text"),
            _ => format!(
                "lower(substr(hex({id}), 1, 8) || '-' || substr(hex({id}), 9, 4) || '-' || substr(hex({id}), 13, 4) \
                 || '-' || substr(hex({id}), 17, 4) || '-' || substr(hex({id}), 21, 12))"
            ),
        };
        let rollouts = format!("{WORK} SELECT 'rollout', {}, 0, 0, 0, 1 {ROLLOUTS}", text("task.id"));
        let remains = format!("{WORK} SELECT 'remains', {}, 0, 0, 0, 1 {REMAINS}", text("agent.id"));
        super::run(manager, &[&rollouts, &remains]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

// The last revision of a task. Its row is locked from the first change of a transaction until its commit.
const REVISION: &str = "CREATE TABLE revision (
    task_id {uuid} NOT NULL PRIMARY KEY,
    last bigint NOT NULL
)";

const PRESENCE: &str = "CREATE TABLE presence (
    agent_id {uuid} NOT NULL PRIMARY KEY,
    replica text NOT NULL,
    epoch bigint NOT NULL,
    lease_until bigint NOT NULL,
    last_seen bigint NOT NULL
)";

const LOGIN_LIMIT: &str = "CREATE TABLE login_limit (
    name text NOT NULL PRIMARY KEY,
    started_at bigint NOT NULL,
    tries bigint NOT NULL,
    lease_until bigint NOT NULL
)";

const WORK: &str = "INSERT INTO work (kind, name, due_at, claimable_at, tries, adds)";
/// Tasks that spread, and are not through.
const ROLLOUTS: &str = "FROM task WHERE (max_parallel > 0 OR max_failures > 0) AND EXISTS
    (SELECT 1 FROM execution WHERE execution.task_id = task.id AND execution.state IN ('held', 'queued'))";
/// Agents that were removed, and have left something.
const REMAINS: &str = "FROM agent WHERE removed AND EXISTS
    (SELECT 1 FROM execution WHERE execution.agent_id = agent.id
        AND execution.state IN ('held', 'queued', 'dispatched', 'running'))";

const REST: &[&str] = &[
    "INSERT INTO revision (task_id, last)
        SELECT task.id, COALESCE((SELECT MAX(revision) FROM execution WHERE execution.task_id = task.id), 0) FROM task",
    "DROP TABLE counter",
    // `agent.last_seen_at` is not written any more.
    "INSERT INTO presence (agent_id, replica, epoch, lease_until, last_seen)
        SELECT id, '', session_epoch, 0, last_seen_at FROM agent WHERE last_seen_at IS NOT NULL",
    "CREATE TABLE work (
        kind {ordered} NOT NULL,
        name {ordered} NOT NULL,
        due_at bigint NOT NULL,
        claimable_at bigint NOT NULL,
        lease_until bigint,
        tries bigint NOT NULL,
        adds bigint NOT NULL,
        parked_reason text,
        PRIMARY KEY (kind, name)
    )",
    "CREATE INDEX work_due ON work (kind, claimable_at) WHERE parked_reason IS NULL",
    "CREATE TABLE quarantine (
        agent_id {uuid} NOT NULL PRIMARY KEY,
        since bigint NOT NULL,
        reason text NOT NULL,
        until bigint NOT NULL
    )",
    "CREATE INDEX quarantine_until ON quarantine (until)",
    "CREATE INDEX login_limit_lease ON login_limit (lease_until)",
    "CREATE INDEX session_expires ON session (expires_at)",
    "CREATE INDEX join_token_expires ON join_token (expires_at)",
    "ALTER TABLE join_token ADD COLUMN request_id text",
    "CREATE UNIQUE INDEX join_token_request ON join_token (created_by, request_id) WHERE request_id IS NOT NULL",
    // What is at work, and what waits, each by itself: the one is bounded by slots, the other by nobody.
    "DROP INDEX execution_open",
    "CREATE INDEX execution_handed_over ON execution (agent_id, task_id) WHERE state IN ('dispatched', 'running')",
    "CREATE INDEX execution_waiting ON execution (agent_id, state, task_id) WHERE state IN ('held', 'queued')",
];
