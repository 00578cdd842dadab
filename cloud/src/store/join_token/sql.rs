//! Rows and statements.

use opslink::{
    id::{AgentId, TokenId},
    time::UnixMicros,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::Expr,
};
use uuid::Uuid;

use crate::store::{
    Error, Result,
    audit::sql::audit_insert,
    record::{Audit, JoinToken},
    sql::{Named, Outcome, Sql, exists, from_json, json, not_found, readable_page},
};

const JOIN_TOKEN: Named = Named::new("join token", &["id"]);

pub(super) async fn join_token_insert(tx: &impl ConnectionTrait, token: &JoinToken, audit: &Audit) -> Outcome<()> {
    if row::Entity::find_by_id(token.id.uuid()).one(tx).await?.is_some() {
        return Err(exists("join token", token.id));
    }
    if let Some(request_id) = &token.request_id {
        let made = row::Entity::find()
            .filter(row::Column::CreatedBy.eq(token.created_by.as_str()))
            .filter(row::Column::RequestId.eq(request_id.as_str()))
            .one(tx)
            .await?;
        if let Some(made) = made {
            return Err(exists("join token", TokenId::from_uuid(made.id)));
        }
    }
    let row = row::Model {
        id: token.id.uuid(),
        secret_hash: token.secret_hash.clone(),
        labels: json("labels of a join token", &token.labels)?,
        agent_name: token.agent_name.clone(),
        created_by: token.created_by.clone(),
        created_at: token.created_at.0,
        expires_at: token.expires_at.0,
        used_at: token.used.map(|(time, _)| time.0),
        used_by: token.used.map(|(_, agent)| agent.uuid()),
        revoked: token.revoked,
        request_id: token.request_id.clone(),
    };
    row::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit_insert(tx, audit).await
}

pub(in crate::store) async fn join_token_get(db: &impl ConnectionTrait, id: TokenId) -> Outcome<Option<JoinToken>> {
    let row = row::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(JoinToken::try_from).transpose()?)
}

pub(super) async fn join_token_list(
    db: &impl ConnectionTrait,
    before: Option<TokenId>,
    limit: u32,
) -> Outcome<Vec<JoinToken>> {
    // Ids sort by time.
    let mut query = row::Entity::find().order_by_desc(row::Column::Id);
    if let Some(before) = before {
        query = query.filter(row::Column::Id.lt(before.uuid()));
    }
    let backend = db.get_database_backend();
    let select = |behind: Option<&Uuid>, limit: u64| {
        let query = query.clone().limit(limit);
        match behind {
            Some(id) => query.filter(row::Column::Id.lt(*id)).build(backend),
            None => query.build(backend),
        }
    };
    readable_page::<row::Model, JoinToken, _>(db, JOIN_TOKEN, limit, select, |row| row.try_get("", "id")).await
}

pub(super) async fn join_token_revoke(tx: &impl ConnectionTrait, id: &TokenId, audit: &Audit) -> Outcome<()> {
    let changed = row::Entity::update_many()
        .col_expr(row::Column::Revoked, Expr::value(true))
        .filter(row::Column::Id.eq(id.uuid()))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("join token", id));
    }
    audit_insert(tx, audit).await
}

pub(super) async fn join_token_remove_expired(
    tx: &impl ConnectionTrait,
    ended_before: &UnixMicros,
    limit: &u32,
) -> Outcome<u64> {
    let sql = "DELETE FROM join_token WHERE id IN (SELECT id FROM join_token WHERE expires_at < ";
    let delete = Sql::new(tx.get_database_backend(), sql)
        .bind(ended_before.0)
        .text(" ORDER BY expires_at LIMIT ")
        .bind(i64::from(*limit))
        .text(")");
    Ok(tx.execute_raw(delete.end()).await?.rows_affected())
}

impl TryFrom<row::Model> for JoinToken {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        let used = row.used_at.zip(row.used_by);
        Ok(Self {
            id: TokenId::from_uuid(row.id),
            secret_hash: row.secret_hash,
            labels: from_json("labels of a join token", &row.labels)?,
            agent_name: row.agent_name,
            created_by: row.created_by,
            created_at: UnixMicros(row.created_at),
            expires_at: UnixMicros(row.expires_at),
            used: used.map(|(time, agent)| (UnixMicros(time), AgentId::from_uuid(agent))),
            revoked: row.revoked,
            request_id: row.request_id,
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `join_token`.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "join_token")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub secret_hash: Vec<u8>,
        pub labels: String,
        pub agent_name: String,
        pub created_by: String,
        pub created_at: i64,
        pub expires_at: i64,
        pub used_at: Option<i64>,
        pub used_by: Option<Uuid>,
        pub revoked: bool,
        pub request_id: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
