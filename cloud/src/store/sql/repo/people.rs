//! Settings, users, sessions, API tokens.

use opslink::{
    id::{TokenId, UserId},
    time::UnixMicros,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
    sea_query::Expr,
};

use super::{
    super::{
        super::record::{Audit, Session, Token, User},
        convert::{records, role_word},
        entity::{api_token, session, setting, users},
        failure::{Outcome, exists, not_found},
        statement::Sql,
    },
    audit,
};

pub(in super::super) async fn setting_get(db: &impl ConnectionTrait, key: &str) -> Outcome<Option<Vec<u8>>> {
    Ok(setting::Entity::find_by_id(key.to_owned())
        .one(db)
        .await?
        .map(|row| row.value))
}

pub(in super::super) async fn setting_init(tx: &impl ConnectionTrait, key: &str, value: &[u8]) -> Outcome<Vec<u8>> {
    if let Some(value) = setting_get(tx, key).await? {
        return Ok(value);
    }
    let row = setting::Model {
        name: key.to_owned(),
        value: value.to_vec(),
    };
    setting::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(value.to_vec())
}

pub(in super::super) async fn user_by_name(db: &impl ConnectionTrait, name: &str) -> Outcome<Option<User>> {
    let row = users::Entity::find()
        .filter(users::Column::Name.eq(name))
        .one(db)
        .await?;
    Ok(row.map(User::try_from).transpose()?)
}

pub(in super::super) async fn user_get(db: &impl ConnectionTrait, id: UserId) -> Outcome<Option<User>> {
    let row = users::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(User::try_from).transpose()?)
}

pub(in super::super) async fn user_count(db: &impl ConnectionTrait) -> Outcome<u64> {
    Ok(users::Entity::find().count(db).await?)
}

pub(in super::super) async fn user_insert(tx: &impl ConnectionTrait, user: &User, note: &Audit) -> Outcome<()> {
    if user_by_name(tx, &user.name).await?.is_some() || user_get(tx, user.id).await?.is_some() {
        return Err(exists("user", &user.name));
    }
    let row = users::Model {
        id: user.id.uuid(),
        name: user.name.clone(),
        password_hash: user.password_hash.clone(),
        role: role_word(user.role).to_owned(),
        must_change_password: user.must_change_password,
    };
    users::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit::insert(tx, note).await
}

pub(in super::super) async fn user_set_password(
    tx: &impl ConnectionTrait,
    id: UserId,
    password_hash: &str,
    keep: Option<&[u8]>,
    note: &Audit,
) -> Outcome<()> {
    let changed = users::Entity::update_many()
        .col_expr(users::Column::PasswordHash, Expr::value(password_hash))
        .col_expr(users::Column::MustChangePassword, Expr::value(false))
        .filter(users::Column::Id.eq(id.uuid()))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("user", id));
    }
    let mut ended = session::Entity::delete_many().filter(session::Column::UserId.eq(id.uuid()));
    if let Some(keep) = keep {
        ended = ended.filter(session::Column::SecretHash.ne(keep.to_vec()));
    }
    ended.exec(tx).await?;
    audit::insert(tx, note).await
}

pub(in super::super) async fn session_insert(
    tx: &impl ConnectionTrait,
    session: &Session,
    note: &Audit,
) -> Outcome<()> {
    if user_get(tx, session.user_id).await?.is_none() {
        return Err(not_found("user", session.user_id));
    }
    let row = session::Model {
        secret_hash: session.secret_hash.clone(),
        user_id: session.user_id.uuid(),
        created_at: session.created_at.0,
        expires_at: session.expires_at.0,
    };
    session::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit::insert(tx, note).await
}

pub(in super::super) async fn session_get(
    db: &impl ConnectionTrait,
    secret_hash: &[u8],
) -> Outcome<Option<(Session, User)>> {
    let Some(row) = session::Entity::find_by_id(secret_hash.to_vec()).one(db).await? else {
        return Ok(None);
    };
    let session = Session::from(row);
    Ok(user_get(db, session.user_id).await?.map(|user| (session, user)))
}

pub(in super::super) async fn session_remove(
    tx: &impl ConnectionTrait,
    secret_hash: &[u8],
    note: &Audit,
) -> Outcome<()> {
    let ended = session::Entity::delete_by_id(secret_hash.to_vec()).exec(tx).await?;
    if ended.rows_affected == 0 {
        return Ok(());
    }
    audit::insert(tx, note).await
}

pub(in super::super) async fn token_insert(tx: &impl ConnectionTrait, token: &Token, note: &Audit) -> Outcome<()> {
    let free = Sql::new(
        tx.get_database_backend(),
        "UPDATE api_token SET name_held = FALSE WHERE name_held AND name = ",
    )
    .bind(token.name.as_str())
    .text(" AND expires_at <= ")
    .bind(token.created_at.0);
    tx.execute_raw(free.end()).await?;
    let same_name = api_token::Column::Name
        .eq(token.name.as_str())
        .and(api_token::Column::NameHeld.eq(true));
    let held = api_token::Entity::find()
        .filter(same_name.or(api_token::Column::Id.eq(token.id.uuid())))
        .one(tx)
        .await?;
    if held.is_some() {
        return Err(exists("API token", &token.name));
    }
    let row = api_token::Model {
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
    api_token::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit::insert(tx, note).await
}

pub(in super::super) async fn token_by_hash(db: &impl ConnectionTrait, secret_hash: &[u8]) -> Outcome<Option<Token>> {
    let wanted = api_token::Column::SecretHash.eq(secret_hash.to_vec());
    let row = api_token::Entity::find().filter(wanted).one(db).await?;
    Ok(row.map(Token::try_from).transpose()?)
}

pub(in super::super) async fn token_list(db: &impl ConnectionTrait) -> Outcome<Vec<Token>> {
    let newest_first = api_token::Entity::find()
        .order_by_desc(api_token::Column::CreatedAt)
        .order_by_desc(api_token::Column::Id);
    Ok(records(newest_first.all(db).await?)?)
}

pub(in super::super) async fn token_revoke(tx: &impl ConnectionTrait, id: TokenId, note: &Audit) -> Outcome<()> {
    let changed = api_token::Entity::update_many()
        .col_expr(api_token::Column::Revoked, Expr::value(true))
        .col_expr(api_token::Column::NameHeld, Expr::value(false))
        .filter(api_token::Column::Id.eq(id.uuid()))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("API token", id));
    }
    audit::insert(tx, note).await
}

pub(in super::super) async fn token_touch(tx: &impl ConnectionTrait, id: TokenId, time: UnixMicros) -> Outcome<()> {
    let last = api_token::Column::LastUsedAt;
    api_token::Entity::update_many()
        .col_expr(last, Expr::value(time.0))
        .filter(api_token::Column::Id.eq(id.uuid()))
        .filter(last.is_null().or(last.lt(time.0)))
        .exec(tx)
        .await?;
    Ok(())
}
