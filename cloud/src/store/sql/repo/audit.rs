//! Audit rows.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::super::{
    super::record::{Audit, AuditRow},
    convert::{records, role_word},
    entity::audit::{Column, Entity},
    failure::Outcome,
    statement::Sql,
};

pub(in super::super) async fn insert(tx: &impl ConnectionTrait, audit: &Audit) -> Outcome<()> {
    let sql = "INSERT INTO audit (time, actor, actor_role, action, resource, detail, peer) VALUES ";
    let row = [
        audit.time.0.into(),
        audit.actor.as_str().into(),
        audit.actor_role.map(role_word).into(),
        audit.action.into(),
        audit.resource.as_str().into(),
        audit.detail.as_str().into(),
        audit.peer.as_str().into(),
    ];
    tx.execute_raw(Sql::new(tx.get_database_backend(), sql).rows([row]).end())
        .await?;
    Ok(())
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
