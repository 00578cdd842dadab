//! Rows and statements.

use opslink::{id::UserId, time::UnixMicros};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel, QueryFilter};

use crate::store::{
    audit::sql::audit_insert,
    record::{Audit, Session, User},
    sql::{Outcome, Sql, not_found},
    user::sql::user_get,
};

pub(super) async fn session_insert(
    tx: &impl ConnectionTrait,
    session: &Session,
    password_hash: &str,
    audit: &Audit,
) -> Outcome<bool> {
    let backend = tx.get_database_backend();
    let select = Sql::new(backend, "SELECT password_hash FROM users WHERE id = ").bind(session.user_id.uuid());
    let select = match backend {
        // A change of the password that is under way is waited for; one that comes later waits, and finds this session.
        DbBackend::Postgres => select.text(" FOR SHARE"),
        _ => select,
    };
    let Some(user) = tx.query_one_raw(select.end()).await? else {
        return Err(not_found("user", session.user_id));
    };
    if user.try_get_by_index::<String>(0)? != password_hash {
        return Ok(false);
    }
    let row = row::Model {
        secret_hash: session.secret_hash.clone(),
        user_id: session.user_id.uuid(),
        created_at: session.created_at.0,
        expires_at: session.expires_at.0,
    };
    row::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit_insert(tx, audit).await?;
    Ok(true)
}

pub(super) async fn session_get(db: &impl ConnectionTrait, secret_hash: &[u8]) -> Outcome<Option<(Session, User)>> {
    let Some(row) = row::Entity::find_by_id(secret_hash.to_vec()).one(db).await? else {
        return Ok(None);
    };
    let session = Session::from(row);
    Ok(user_get(db, session.user_id).await?.map(|user| (session, user)))
}

pub(super) async fn session_remove(tx: &impl ConnectionTrait, secret_hash: &[u8], audit: &Audit) -> Outcome<()> {
    let ended = row::Entity::delete_by_id(secret_hash.to_vec()).exec(tx).await?;
    if ended.rows_affected == 0 {
        return Ok(());
    }
    audit_insert(tx, audit).await
}

/// Ends every session of a user but one.
pub(in crate::store) async fn session_remove_of_user(
    tx: &impl ConnectionTrait,
    user: UserId,
    keep: Option<&[u8]>,
) -> Outcome<()> {
    let mut ended = row::Entity::delete_many().filter(row::Column::UserId.eq(user.uuid()));
    if let Some(keep) = keep {
        ended = ended.filter(row::Column::SecretHash.ne(keep.to_vec()));
    }
    ended.exec(tx).await?;
    Ok(())
}

pub(super) async fn session_remove_expired(tx: &impl ConnectionTrait, now: &UnixMicros, limit: &u32) -> Outcome<u64> {
    let sql = "DELETE FROM session WHERE secret_hash IN (SELECT secret_hash FROM session WHERE expires_at <= ";
    let delete = Sql::new(tx.get_database_backend(), sql)
        .bind(now.0)
        .text(" ORDER BY expires_at LIMIT ")
        .bind(i64::from(*limit))
        .text(")");
    Ok(tx.execute_raw(delete.end()).await?.rows_affected())
}

impl From<row::Model> for Session {
    fn from(row: row::Model) -> Self {
        Self {
            secret_hash: row.secret_hash,
            user_id: UserId::from_uuid(row.user_id),
            created_at: UnixMicros(row.created_at),
            expires_at: UnixMicros(row.expires_at),
        }
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `session`: who is logged in.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "session")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub secret_hash: Vec<u8>,
        pub user_id: Uuid,
        pub created_at: i64,
        pub expires_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
