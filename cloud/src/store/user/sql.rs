//! Rows and statements.

use opslink::id::UserId;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, sea_query::Expr,
};

use crate::store::{
    Error, Result,
    audit::sql::audit_insert,
    record::{Audit, User},
    session::sql::session_remove_of_user,
    sql::{Outcome, exists, not_found, role, role_word},
};

pub(super) async fn user_by_name(db: &impl ConnectionTrait, name: &str) -> Outcome<Option<User>> {
    // No name holds a NUL, which PostgreSQL refuses to look for.
    if name.contains('\0') {
        return Ok(None);
    }
    let row = row::Entity::find().filter(row::Column::Name.eq(name)).one(db).await?;
    Ok(row.map(User::try_from).transpose()?)
}

pub(in crate::store) async fn user_get(db: &impl ConnectionTrait, id: UserId) -> Outcome<Option<User>> {
    let row = row::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(User::try_from).transpose()?)
}

pub(super) async fn user_count(db: &impl ConnectionTrait) -> Outcome<u64> {
    Ok(row::Entity::find().count(db).await?)
}

pub(super) async fn user_insert(tx: &impl ConnectionTrait, user: &User, audit: &Audit) -> Outcome<()> {
    if user_by_name(tx, &user.name).await?.is_some() || user_get(tx, user.id).await?.is_some() {
        return Err(exists("user", &user.name));
    }
    let row = row::Model {
        id: user.id.uuid(),
        name: user.name.clone(),
        password_hash: user.password_hash.clone(),
        role: role_word(user.role).to_owned(),
        must_change_password: user.must_change_password,
    };
    row::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit_insert(tx, audit).await
}

pub(super) async fn user_set_password(
    tx: &impl ConnectionTrait,
    id: &UserId,
    password_hash: &str,
    keep: &Option<Vec<u8>>,
    audit: &Audit,
) -> Outcome<()> {
    let changed = row::Entity::update_many()
        .col_expr(row::Column::PasswordHash, Expr::value(password_hash))
        .col_expr(row::Column::MustChangePassword, Expr::value(false))
        .filter(row::Column::Id.eq(id.uuid()))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("user", id));
    }
    session_remove_of_user(tx, *id, keep.as_deref()).await?;
    audit_insert(tx, audit).await
}

impl TryFrom<row::Model> for User {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        Ok(Self {
            id: UserId::from_uuid(row.id),
            name: row.name,
            password_hash: row.password_hash,
            role: role(&row.role)?,
            must_change_password: row.must_change_password,
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `users`: people (`user` is a reserved word in PostgreSQL).

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub password_hash: String,
        pub role: String,
        pub must_change_password: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
