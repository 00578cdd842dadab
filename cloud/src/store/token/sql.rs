//! Rows and statements.

use opslink::{id::TokenId, time::UnixMicros};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, sea_query::Expr,
};
use uuid::Uuid;

use crate::store::{
    Error, Result,
    audit::sql::audit_insert,
    record::{Audit, Token},
    sql::{Named, Outcome, Sql, exists, not_found, readable_page, role, role_word},
};

const TOKEN: Named = Named::new("API token", &["id"]);

pub(super) async fn token_insert(tx: &impl ConnectionTrait, token: &Token, audit: &Audit) -> Outcome<()> {
    let free = Sql::new(
        tx.get_database_backend(),
        "UPDATE api_token SET name_held = FALSE WHERE name_held AND name = ",
    )
    .bind(token.name.as_str())
    .text(" AND expires_at <= ")
    .bind(token.created_at.0);
    tx.execute_raw(free.end()).await?;
    let same_name = row::Column::Name
        .eq(token.name.as_str())
        .and(row::Column::NameHeld.eq(true));
    let held = row::Entity::find()
        .filter(same_name.or(row::Column::Id.eq(token.id.uuid())))
        .one(tx)
        .await?;
    if held.is_some() {
        return Err(exists("API token", &token.name));
    }
    let row = row::Model {
        id: token.id.uuid(),
        name: token.name.clone(),
        name_held: !token.revoked,
        secret_hash: token.secret_hash.clone(),
        role: role_word(token.role).to_owned(),
        created_by: token.created_by.clone(),
        created_at: token.created_at.0,
        expires_at: token.expires_at.0,
        last_used_at: token.last_used_at.map(|time| time.0),
        revoked: token.revoked,
    };
    row::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit_insert(tx, audit).await
}

pub(super) async fn token_by_hash(db: &impl ConnectionTrait, secret_hash: &[u8]) -> Outcome<Option<Token>> {
    let wanted = row::Column::SecretHash.eq(secret_hash.to_vec());
    let row = row::Entity::find().filter(wanted).one(db).await?;
    Ok(row.map(Token::try_from).transpose()?)
}

pub(super) async fn token_list(db: &impl ConnectionTrait, before: Option<TokenId>, limit: u32) -> Outcome<Vec<Token>> {
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
    readable_page::<row::Model, Token, _>(db, TOKEN, limit, select, |row| row.try_get("", "id")).await
}

pub(super) async fn token_revoke(tx: &impl ConnectionTrait, id: &TokenId, audit: &Audit) -> Outcome<()> {
    let changed = row::Entity::update_many()
        .col_expr(row::Column::Revoked, Expr::value(true))
        .col_expr(row::Column::NameHeld, Expr::value(false))
        .filter(row::Column::Id.eq(id.uuid()))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("API token", id));
    }
    audit_insert(tx, audit).await
}

pub(super) async fn token_touch(tx: &impl ConnectionTrait, id: &TokenId, time: &UnixMicros) -> Outcome<()> {
    let last = row::Column::LastUsedAt;
    row::Entity::update_many()
        .col_expr(last, Expr::value(time.0))
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(last.is_null().or(last.lt(time.0)))
        .exec(tx)
        .await?;
    Ok(())
}

impl TryFrom<row::Model> for Token {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        Ok(Self {
            id: TokenId::from_uuid(row.id),
            name: row.name,
            secret_hash: row.secret_hash,
            role: role(&row.role)?,
            created_by: row.created_by,
            created_at: UnixMicros(row.created_at),
            expires_at: UnixMicros(row.expires_at),
            last_used_at: row.last_used_at.map(UnixMicros),
            revoked: row.revoked,
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `api_token`. `name_held` keeps names unique among the living: it ends with revocation, or when a later token
    //! of the same name comes after this one's end.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_token")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub name_held: bool,
        pub secret_hash: Vec<u8>,
        pub role: String,
        pub created_by: String,
        pub created_at: i64,
        pub expires_at: i64,
        pub last_used_at: Option<i64>,
        pub revoked: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
