//! Attempts: rows and statements.

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    time::UnixMicros,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QueryTrait, Value};
use uuid::Uuid;

use crate::store::{
    Error, Result,
    record::{Attempt, AttemptHead},
    sql::{Named, Outcome, Sql, count, outcome, parts, readable, state},
};

const ATTEMPT: Named = Named::new("attempt", &["task_id", "agent_id", "id"]);

pub(super) async fn attempt_heads(
    db: &impl ConnectionTrait,
    task: TaskId,
    agents: &[AgentId],
) -> Outcome<Vec<AttemptHead>> {
    let mut found = Vec::new();
    for part in parts(agents) {
        let select = Sql::new(
            db.get_database_backend(),
            "SELECT id, task_id, agent_id, number, state, created_at, finished_at FROM attempt WHERE task_id = ",
        )
        .bind(task.uuid())
        .text(" AND agent_id IN ")
        .rows([part.iter().map(|agent| Value::from(agent.uuid()))])
        .text(" ORDER BY agent_id, number");
        let rows = db.query_all_raw(select.end()).await?;
        found.extend(readable::<Head, AttemptHead>(ATTEMPT, &rows));
    }
    Ok(found)
}

pub(super) async fn attempt_list(db: &impl ConnectionTrait, task: TaskId) -> Outcome<Vec<Attempt>> {
    let query = row::Entity::find()
        .filter(row::Column::TaskId.eq(task.uuid()))
        .order_by_asc(row::Column::CreatedAt)
        .order_by_asc(row::Column::Id);
    let rows = db.query_all_raw(query.build(db.get_database_backend())).await?;
    Ok(readable::<row::Model, Attempt>(ATTEMPT, &rows))
}

pub(super) async fn attempt_get(db: &impl ConnectionTrait, id: AttemptId) -> Outcome<Option<Attempt>> {
    let row = row::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(Attempt::try_from).transpose()?)
}

impl TryFrom<row::Model> for Attempt {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        Ok(Self {
            id: AttemptId::from_uuid(row.id),
            task_id: TaskId::from_uuid(row.task_id),
            agent_id: AgentId::from_uuid(row.agent_id),
            number: count("attempt", row.number)?,
            state: state(&row.state)?,
            created_at: UnixMicros(row.created_at),
            finished_at: row.finished_at.map(UnixMicros),
            outcome: outcome(row.outcome)?,
        })
    }
}

/// A row without how it ended.
#[derive(Debug, FromQueryResult)]
struct Head {
    id: Uuid,
    agent_id: Uuid,
    number: i64,
    state: String,
    created_at: i64,
    finished_at: Option<i64>,
}

impl TryFrom<Head> for AttemptHead {
    type Error = Error;

    fn try_from(row: Head) -> Result<Self> {
        Ok(Self {
            id: AttemptId::from_uuid(row.id),
            agent_id: AgentId::from_uuid(row.agent_id),
            number: count("attempt", row.number)?,
            state: state(&row.state)?,
            created_at: UnixMicros(row.created_at),
            finished_at: row.finished_at.map(UnixMicros),
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `attempt`. `outcome` is an encoded `pb::Outcome`.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "attempt")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub task_id: Uuid,
        pub agent_id: Uuid,
        pub number: i64,
        pub state: String,
        pub created_at: i64,
        pub finished_at: Option<i64>,
        pub outcome: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
