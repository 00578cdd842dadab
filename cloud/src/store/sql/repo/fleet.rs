//! Join tokens and agents.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{
    id::{AgentId, TokenId},
    time::UnixMicros,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, Value, sea_query::Expr,
};

use super::{
    super::{
        super::record::{Agent, AgentSeen, Audit, JoinResult, JoinToken, NewAgent},
        convert::{json, records},
        entity::{agent, join_token},
        failure::{Outcome, corrupt, exists, not_found},
        statement::{Sql, parts},
    },
    audit,
};

pub(in super::super) async fn join_token_insert(
    tx: &impl ConnectionTrait,
    token: &JoinToken,
    note: &Audit,
) -> Outcome<()> {
    if join_token::Entity::find_by_id(token.id.uuid()).one(tx).await?.is_some() {
        return Err(exists("join token", token.id));
    }
    let row = join_token::Model {
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
    };
    join_token::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit::insert(tx, note).await
}

pub(in super::super) async fn join_token_list(db: &impl ConnectionTrait) -> Outcome<Vec<JoinToken>> {
    let newest_first = join_token::Entity::find()
        .order_by_desc(join_token::Column::CreatedAt)
        .order_by_desc(join_token::Column::Id);
    Ok(records(newest_first.all(db).await?)?)
}

pub(in super::super) async fn join_token_revoke(tx: &impl ConnectionTrait, id: TokenId, note: &Audit) -> Outcome<()> {
    let changed = join_token::Entity::update_many()
        .col_expr(join_token::Column::Revoked, Expr::value(true))
        .filter(join_token::Column::Id.eq(id.uuid()))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("join token", id));
    }
    audit::insert(tx, note).await
}

/// The token is consumed by one conditional update, in the transaction that stores the agent.
pub(in super::super) async fn agent_join(
    tx: &impl ConnectionTrait,
    id: TokenId,
    secret_hash: &[u8],
    new: &NewAgent,
    note: &Audit,
) -> Outcome<JoinResult> {
    let token = match usable_token(tx, id, secret_hash, new.enrolled_at).await? {
        Ok(token) => token,
        Err(refusal) => return Ok(refusal),
    };
    let name = if token.agent_name.is_empty() {
        new.proposed_name.clone()
    } else {
        token.agent_name
    };
    let taken = agent::Entity::find()
        .filter(agent::Column::Name.eq(name.as_str()))
        .filter(agent::Column::Removed.eq(false));
    if taken.one(tx).await?.is_some() {
        return Ok(JoinResult::NameTaken(name));
    }
    let consume = Sql::new(tx.get_database_backend(), "UPDATE join_token SET used_at = ")
        .bind(new.enrolled_at.0)
        .text(", used_by = ")
        .bind(new.id.uuid())
        .text(" WHERE used_at IS NULL AND NOT revoked AND id = ")
        .bind(id.uuid())
        .text(" AND expires_at > ")
        .bind(new.enrolled_at.0)
        .text(" RETURNING id");
    if tx.query_one_raw(consume.end()).await?.is_none() {
        // Somebody was faster since the look above; the second look says who or what.
        let refusal = usable_token(tx, id, secret_hash, new.enrolled_at).await?.err();
        return Ok(refusal.unwrap_or(JoinResult::TokenUsed));
    }
    let row = agent::Model {
        id: new.id.uuid(),
        name,
        labels: json("labels of an agent", &token.labels)?,
        facts: Vec::new(),
        connections: "[]".to_owned(),
        enrolled_at: new.enrolled_at.0,
        last_seen_at: None,
        session_epoch: 0,
        removed: false,
    };
    agent::Entity::insert(row.clone().into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit::insert(tx, note).await?;
    Ok(JoinResult::Joined(Agent::try_from(row)?))
}

async fn usable_token(
    tx: &impl ConnectionTrait,
    id: TokenId,
    secret_hash: &[u8],
    now: UnixMicros,
) -> Outcome<Result<JoinToken, JoinResult>> {
    let row = join_token::Entity::find_by_id(id.uuid()).one(tx).await?;
    let Some(row) = row.filter(|row| row.secret_hash == secret_hash) else {
        return Ok(Err(JoinResult::TokenUnknown));
    };
    let token = JoinToken::try_from(row)?;
    Ok(if token.revoked {
        Err(JoinResult::TokenRevoked)
    } else if token.used.is_some() {
        Err(JoinResult::TokenUsed)
    } else if token.expires_at <= now {
        Err(JoinResult::TokenExpired)
    } else {
        Ok(token)
    })
}

pub(in super::super) async fn agent_get(db: &impl ConnectionTrait, id: AgentId) -> Outcome<Option<Agent>> {
    let row = agent::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(Agent::try_from).transpose()?)
}

pub(in super::super) async fn agent_list(db: &impl ConnectionTrait) -> Outcome<Vec<Agent>> {
    let living = agent::Entity::find().filter(agent::Column::Removed.eq(false));
    let mut agents: Vec<Agent> = records(living.all(db).await?)?;
    // Sorted here: PostgreSQL's order of texts depends on the database's locale.
    agents.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(agents)
}

pub(in super::super) async fn agent_set_labels(
    tx: &impl ConnectionTrait,
    id: AgentId,
    labels: &BTreeMap<String, String>,
    note: &Audit,
) -> Outcome<Agent> {
    let changed = agent::Entity::update_many()
        .col_expr(agent::Column::Labels, Expr::value(json("labels of an agent", labels)?))
        .filter(agent::Column::Id.eq(id.uuid()))
        .filter(agent::Column::Removed.eq(false))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("agent", id));
    }
    audit::insert(tx, note).await?;
    agent_get(tx, id).await?.ok_or_else(|| not_found("agent", id))
}

pub(in super::super) async fn agent_remove(tx: &impl ConnectionTrait, id: AgentId, note: &Audit) -> Outcome<()> {
    let changed = agent::Entity::update_many()
        .col_expr(agent::Column::Removed, Expr::value(true))
        .filter(agent::Column::Id.eq(id.uuid()))
        .filter(agent::Column::Removed.eq(false))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("agent", id));
    }
    audit::insert(tx, note).await
}

pub(in super::super) async fn agent_attach(
    tx: &impl ConnectionTrait,
    id: AgentId,
    facts: &Bytes,
    connections: &[(String, String, bool)],
    time: UnixMicros,
) -> Outcome<u64> {
    let raise = Sql::new(
        tx.get_database_backend(),
        "UPDATE agent SET session_epoch = session_epoch + 1, facts = ",
    )
    .bind(facts.to_vec())
    .text(", connections = ")
    .bind(json("connections of an agent", &connections)?)
    .text(", last_seen_at = CASE WHEN last_seen_at > ")
    .bind(time.0)
    .text(" THEN last_seen_at ELSE ")
    .bind(time.0)
    .text(" END WHERE NOT removed AND id = ")
    .bind(id.uuid())
    .text(" RETURNING session_epoch");
    let row = tx
        .query_one_raw(raise.end())
        .await?
        .ok_or_else(|| not_found("agent", id))?;
    let epoch: i64 = row.try_get_by_index(0)?;
    Ok(u64::try_from(epoch).map_err(|_| corrupt("session epoch", epoch))?)
}

pub(in super::super) async fn agent_seen(tx: &impl ConnectionTrait, seen: &[AgentSeen]) -> Outcome<()> {
    // In id order, so that two such writes never wait for each other in a circle; the newest sign of each agent.
    let mut newest = BTreeMap::new();
    for AgentSeen { id, time } in seen {
        let slot = newest.entry(*id).or_insert(*time);
        *slot = (*slot).max(*time);
    }
    let newest: Vec<(AgentId, UnixMicros)> = newest.into_iter().collect();
    for part in parts(&newest) {
        let rows = part
            .iter()
            .map(|(id, time)| [Value::from(id.uuid()), Value::from(time.0)]);
        let update = Sql::new(tx.get_database_backend(), "WITH seen (id, at) AS (VALUES ")
            .rows(rows)
            .text(
                ") UPDATE agent SET last_seen_at = seen.at FROM seen WHERE agent.id = seen.id \
             AND (agent.last_seen_at IS NULL OR agent.last_seen_at < seen.at)",
            );
        tx.execute_raw(update.end()).await?;
    }
    Ok(())
}
