//! The first schema.

use sea_orm::{DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_main"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        super::run(manager, TABLES).await?;
        // Executions of a task lie side by side: SQLite clusters them by key, PostgreSQL updates them in place.
        let clustered = match manager.get_database_backend() {
            DbBackend::Postgres => " WITH (fillfactor = 70)",
            _ => " WITHOUT ROWID",
        };
        super::run(manager, &[&format!("{EXECUTION}{clustered}")]).await?;
        super::run(manager, INDEXES).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

const TABLES: &[&str] = &[
    "CREATE TABLE setting (name text NOT NULL PRIMARY KEY, value {bytes} NOT NULL)",
    // One row per sequence whose numbers must become visible in order: its row lock is held until commit.
    "CREATE TABLE counter (name text NOT NULL PRIMARY KEY, value bigint NOT NULL)",
    "INSERT INTO counter (name, value) VALUES ('revision', 0)",
    "CREATE TABLE users (
        id {uuid} NOT NULL PRIMARY KEY,
        name text NOT NULL UNIQUE,
        password_hash text NOT NULL,
        role text NOT NULL,
        must_change_password boolean NOT NULL
    )",
    "CREATE TABLE session (
        secret_hash {bytes} NOT NULL PRIMARY KEY,
        user_id {uuid} NOT NULL REFERENCES users (id),
        created_at bigint NOT NULL,
        expires_at bigint NOT NULL
    )",
    "CREATE TABLE api_token (
        id {uuid} NOT NULL PRIMARY KEY,
        name text NOT NULL,
        name_held boolean NOT NULL,
        secret_hash {bytes} NOT NULL UNIQUE,
        role text NOT NULL,
        created_by text NOT NULL,
        created_at bigint NOT NULL,
        expires_at bigint NOT NULL,
        last_used_at bigint,
        revoked boolean NOT NULL
    )",
    "CREATE TABLE join_token (
        id {uuid} NOT NULL PRIMARY KEY,
        secret_hash {bytes} NOT NULL,
        labels text NOT NULL,
        agent_name text NOT NULL,
        created_by text NOT NULL,
        created_at bigint NOT NULL,
        expires_at bigint NOT NULL,
        used_at bigint,
        used_by {uuid},
        revoked boolean NOT NULL
    )",
    "CREATE TABLE agent (
        id {uuid} NOT NULL PRIMARY KEY,
        name text NOT NULL,
        labels text NOT NULL,
        facts {bytes} NOT NULL,
        connections text NOT NULL,
        enrolled_at bigint NOT NULL,
        last_seen_at bigint,
        session_epoch bigint NOT NULL,
        removed boolean NOT NULL
    )",
    "CREATE TABLE task (
        id {uuid} NOT NULL PRIMARY KEY,
        spec {bytes} NOT NULL,
        selector {bytes} NOT NULL,
        max_parallel bigint NOT NULL,
        max_failures bigint NOT NULL,
        queue_ttl_secs bigint,
        created_by text NOT NULL,
        created_at bigint NOT NULL,
        request_id text,
        request_hash {bytes} NOT NULL,
        reason text NOT NULL,
        cancel_requested boolean NOT NULL
    )",
    "CREATE TABLE attempt (
        id {uuid} NOT NULL PRIMARY KEY,
        task_id {uuid} NOT NULL REFERENCES task (id),
        agent_id {uuid} NOT NULL,
        number bigint NOT NULL,
        state text NOT NULL,
        created_at bigint NOT NULL,
        finished_at bigint,
        outcome {bytes}
    )",
    "CREATE TABLE audit (
        id {serial},
        time bigint NOT NULL,
        actor text NOT NULL,
        actor_role text,
        action text NOT NULL,
        resource text NOT NULL,
        detail text NOT NULL,
        peer text NOT NULL
    )",
];

const EXECUTION: &str = "CREATE TABLE execution (
    task_id {uuid} NOT NULL REFERENCES task (id),
    agent_id {uuid} NOT NULL,
    agent_name {ordered} NOT NULL,
    state text NOT NULL,
    attempt_id {uuid},
    attempt_number bigint NOT NULL,
    queue_deadline bigint,
    cancel_requested boolean NOT NULL,
    started_at bigint,
    finished_at bigint,
    outcome {bytes},
    output_verified boolean NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (task_id, agent_id)
)";

const INDEXES: &[&str] = &[
    "CREATE INDEX session_of_user ON session (user_id)",
    "CREATE UNIQUE INDEX api_token_living_name ON api_token (name) WHERE name_held",
    "CREATE UNIQUE INDEX agent_living_name ON agent (name) WHERE NOT removed",
    "CREATE UNIQUE INDEX task_request ON task (created_by, request_id) WHERE request_id IS NOT NULL",
    "CREATE INDEX attempt_task ON attempt (task_id, created_at, id)",
    "CREATE INDEX execution_revision ON execution (task_id, revision)",
    "CREATE INDEX execution_state ON execution (task_id, state)",
    "CREATE INDEX execution_name ON execution (task_id, agent_name, agent_id)",
    "CREATE INDEX execution_agent ON execution (agent_id, task_id)",
    // The two questions that must stay cheap when millions of executions are at their end.
    "CREATE INDEX execution_open ON execution (agent_id, task_id)
        WHERE state IN ('held', 'queued', 'dispatched', 'running')",
    "CREATE INDEX execution_deadline ON execution (queue_deadline)
        WHERE state IN ('held', 'queued') AND queue_deadline IS NOT NULL",
];
