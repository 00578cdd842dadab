//! Indexes that have what lists and expiry ask for: the last end beside the counts, the attempts of an execution, and what
//! waited too long, page by page.

use sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_indexes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        super::run(manager, INDEXES).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

const INDEXES: &[&str] = &[
    // A list of tasks reads no execution. An end is written with its state and never by itself, so no change pays for one
    // more index entry. In the order of agents within a state, which is how held executions are asked for.
    "DROP INDEX execution_state",
    "CREATE INDEX execution_state ON execution (task_id, state, agent_id, finished_at)",
    // Nobody but a check asks for the attempts of a whole task, so this takes the place of the index that had them by time.
    "DROP INDEX attempt_task",
    "CREATE INDEX attempt_execution ON attempt (task_id, agent_id, number)",
    // A page of what waited too long goes on behind the one before it.
    "DROP INDEX execution_deadline",
    "CREATE INDEX execution_deadline ON execution (queue_deadline, task_id, agent_id)
        WHERE state IN ('held', 'queued') AND queue_deadline IS NOT NULL",
];
