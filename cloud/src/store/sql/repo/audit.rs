//! Audit rows.

use opslink::id::TaskId;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};

use super::super::{
    super::record::{Audit, AuditRow},
    convert::{records, role_word},
    entity::audit::{Column, Entity},
    failure::Outcome,
    statement::Sql,
};

pub(in super::super) async fn insert(tx: &impl ConnectionTrait, audit: &Audit) -> Outcome<()> {
    let sql = "INSERT INTO audit (time, actor, actor_role, action, resource, detail, peer) VALUES ";
    tx.execute_raw(Sql::new(tx.get_database_backend(), sql).rows([row(audit)]).end())
        .await?;
    Ok(())
}

/// The same, if the task is there.
pub(super) fn insert_with_task(backend: DbBackend, audit: &Audit, task: TaskId) -> Sql {
    Sql::new(
        backend,
        "WITH new (time, actor, actor_role, action, resource, detail, peer) AS (VALUES ",
    )
    .rows([row(audit)])
    .text(
        ") INSERT INTO audit (time, actor, actor_role, action, resource, detail, peer) \
         SELECT time, actor, actor_role, action, resource, detail, peer FROM new \
         WHERE EXISTS (SELECT 1 FROM task WHERE id = ",
    )
    .bind(task.uuid())
    .text(")")
}

fn row(audit: &Audit) -> [Value; 7] {
    [
        audit.time.0.into(),
        audit.actor.as_str().into(),
        audit.actor_role.map(role_word).into(),
        audit.action.into(),
        audit.resource.as_str().into(),
        audit.detail.as_str().into(),
        audit.peer.as_str().into(),
    ]
}

pub(in super::super) async fn list(
    db: &impl ConnectionTrait,
    before: Option<i64>,
    limit: u32,
) -> Outcome<Vec<AuditRow>> {
    let mut query = Entity::find().order_by_desc(Column::Id).limit(u64::from(limit));
    if let Some(before) = before {
        query = query.filter(Column::Id.lt(before));
    }
    Ok(records(query.all(db).await?)?)
}
