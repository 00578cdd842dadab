//! Rows and statements.

use opslink::{id::TaskId, time::UnixMicros};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};

use super::record::{DETAIL_MAX, NAME_MAX, bounded};
use crate::store::{
    Error, Result,
    record::{Audit, AuditRow},
    sql::{Named, Outcome, Sql, readable_page, role, role_word, stored},
};

pub(in crate::store) async fn audit_insert(tx: &impl ConnectionTrait, audit: &Audit) -> Outcome<()> {
    let sql = "INSERT INTO audit (time, actor, actor_role, action, resource, detail, peer) VALUES ";
    tx.execute_raw(Sql::new(tx.get_database_backend(), sql).rows([row_of(audit)]).end())
        .await?;
    Ok(())
}

/// The same, if the task is there.
pub(in crate::store) fn audit_with_task(backend: DbBackend, audit: &Audit, task: TaskId) -> Sql {
    Sql::new(
        backend,
        "WITH new (time, actor, actor_role, action, resource, detail, peer) AS (VALUES ",
    )
    .rows([row_of(audit)])
    .text(
        ") INSERT INTO audit (time, actor, actor_role, action, resource, detail, peer) \
         SELECT time, actor, actor_role, action, resource, detail, peer FROM new \
         WHERE EXISTS (SELECT 1 FROM task WHERE id = ",
    )
    .bind(task.uuid())
    .text(")")
}

fn row_of(audit: &Audit) -> [Value; 7] {
    let audit = audit.clone().cut();
    [
        audit.time.0.into(),
        audit.actor.into(),
        audit.actor_role.map(role_word).into(),
        audit.action.into(),
        audit.resource.into(),
        audit.detail.into(),
        audit.peer.into(),
    ]
}

const AUDIT: Named = Named::new("audit row", &["id"]);

pub(super) async fn audit_list(db: &impl ConnectionTrait, before: Option<i64>, limit: u32) -> Outcome<Vec<AuditRow>> {
    let backend = db.get_database_backend();
    let select = |behind: Option<&i64>, limit: u64| {
        let mut query = Sql::new(
            backend,
            "SELECT id, time, actor, actor_role, action, substr(resource, 1, ",
        )
        .bind(i32::from(NAME_MAX))
        .text(") AS resource, substr(detail, 1, ")
        .bind(i32::from(DETAIL_MAX))
        .text(") AS detail, peer FROM audit");
        if let Some(before) = behind.copied().or(before) {
            query = query.text(" WHERE id < ").bind(before);
        }
        query.text(" ORDER BY id DESC LIMIT ").bind(stored(limit)).end()
    };
    let place_of = |row: &QueryResult| row.try_get("", "id");
    Ok(bounded(
        readable_page::<row::Model, AuditRow, _>(db, AUDIT, limit, select, place_of).await?,
    ))
}

impl TryFrom<row::Model> for AuditRow {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        Ok(Self {
            id: row.id,
            time: UnixMicros(row.time),
            actor: row.actor,
            actor_role: row.actor_role.as_deref().map(role).transpose()?,
            action: row.action,
            resource: row.resource,
            detail: row.detail,
            peer: row.peer,
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `audit`.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub time: i64,
        pub actor: String,
        pub actor_role: Option<String>,
        pub action: String,
        pub resource: String,
        pub detail: String,
        pub peer: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
