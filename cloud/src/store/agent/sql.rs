//! Rows and statements.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{
    id::{AgentId, TokenId},
    time::UnixMicros,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, sea_query::Expr};

use crate::store::{
    Error, Result,
    audit::sql::audit_insert,
    join_token::sql::join_token_get,
    presence::sql::presence_put,
    record::{Agent, AgentAttach, Audit, JoinResult, JoinToken, NewAgent, Presence},
    sql::{Named, Outcome, Sql, corrupt, count, from_json, json, not_found, readable},
};

/// An agent, with its last sign of life, which is in the table of presences.
const SELECT: &str = "SELECT agent.id, agent.name, agent.labels, agent.facts, agent.connections, agent.enrolled_at, \
                      presence.last_seen AS last_seen_at, agent.session_epoch, agent.removed \
                      FROM agent LEFT JOIN presence ON presence.agent_id = agent.id WHERE ";
/// An agent alone.
const SELECT_ALONE: &str = "SELECT id, name, labels, facts, connections, enrolled_at, \
                            CAST(NULL AS bigint) AS last_seen_at, session_epoch, removed FROM agent WHERE ";
const AGENT: Named = Named::new("agent", &["id"]);

/// The token is consumed by one conditional update, in the transaction that stores the agent.
pub(super) async fn agent_join(
    tx: &impl ConnectionTrait,
    id: &TokenId,
    secret_hash: &[u8],
    new: &NewAgent,
    audit: &Audit,
) -> Outcome<JoinResult> {
    let token = match usable_token(tx, *id, secret_hash, new.enrolled_at).await? {
        Ok(token) => token,
        Err(refusal) => return Ok(refusal),
    };
    let name = if token.agent_name.is_empty() {
        new.proposed_name.clone()
    } else {
        token.agent_name
    };
    let taken = row::Entity::find()
        .filter(row::Column::Name.eq(name.as_str()))
        .filter(row::Column::Removed.eq(false));
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
        let refusal = usable_token(tx, *id, secret_hash, new.enrolled_at).await?.err();
        return Ok(refusal.unwrap_or(JoinResult::TokenUsed));
    }
    let row = row::Model {
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
    row::Entity::insert(row.clone().into_active_model())
        .exec_without_returning(tx)
        .await?;
    audit_insert(tx, audit).await?;
    Ok(JoinResult::Joined(Agent::try_from(row)?))
}

async fn usable_token(
    tx: &impl ConnectionTrait,
    id: TokenId,
    secret_hash: &[u8],
    now: UnixMicros,
) -> Outcome<std::result::Result<JoinToken, JoinResult>> {
    let token = join_token_get(tx, id).await?;
    let Some(token) = token.filter(|token| token.secret_hash == secret_hash) else {
        return Ok(Err(JoinResult::TokenUnknown));
    };
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

pub(super) async fn agent_get(db: &impl ConnectionTrait, id: AgentId) -> Outcome<Option<Agent>> {
    let select = Sql::new(db.get_database_backend(), SELECT)
        .text("agent.id = ")
        .bind(id.uuid());
    let row = row::Entity::find().from_raw_sql(select.end()).one(db).await?;
    Ok(row.map(Agent::try_from).transpose()?)
}

pub(super) async fn agent_by_name(db: &impl ConnectionTrait, name: &str) -> Outcome<Option<Agent>> {
    let select = Sql::new(db.get_database_backend(), SELECT)
        .text("NOT agent.removed AND agent.name = ")
        .bind(name);
    let row = row::Entity::find().from_raw_sql(select.end()).one(db).await?;
    Ok(row.map(Agent::try_from).transpose()?)
}

pub(super) async fn agent_list(db: &impl ConnectionTrait) -> Outcome<Vec<Agent>> {
    living(db, SELECT).await
}

pub(super) async fn agent_list_alone(db: &impl ConnectionTrait) -> Outcome<Vec<Agent>> {
    living(db, SELECT_ALONE).await
}

async fn living(db: &impl ConnectionTrait, select: &str) -> Outcome<Vec<Agent>> {
    let living = Sql::new(db.get_database_backend(), select).text("NOT agent.removed");
    let rows = db.query_all_raw(living.end()).await?;
    let mut agents: Vec<Agent> = readable::<row::Model, Agent>(AGENT, &rows);
    // Sorted here: PostgreSQL's order of texts depends on the database's locale.
    agents.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(agents)
}

pub(super) async fn agent_set_labels(
    tx: &impl ConnectionTrait,
    id: &AgentId,
    labels: &BTreeMap<String, String>,
    audit: &Audit,
) -> Outcome<Agent> {
    let changed = row::Entity::update_many()
        .col_expr(row::Column::Labels, Expr::value(json("labels of an agent", labels)?))
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::Removed.eq(false))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("agent", id));
    }
    audit_insert(tx, audit).await?;
    agent_get(tx, *id).await?.ok_or_else(|| not_found("agent", id))
}

pub(super) async fn agent_remove(tx: &impl ConnectionTrait, id: &AgentId, audit: &Audit) -> Outcome<()> {
    let changed = row::Entity::update_many()
        .col_expr(row::Column::Removed, Expr::value(true))
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::Removed.eq(false))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("agent", id));
    }
    audit_insert(tx, audit).await
}

pub(super) async fn agent_attach(tx: &impl ConnectionTrait, attach: &AgentAttach) -> Outcome<u64> {
    let raise = Sql::new(
        tx.get_database_backend(),
        "UPDATE agent SET session_epoch = session_epoch + 1, facts = ",
    )
    .bind(attach.facts.to_vec())
    .text(", connections = ")
    .bind(json("connections of an agent", &attach.connections)?)
    .text(" WHERE NOT removed AND id = ")
    .bind(attach.id.uuid())
    .text(" RETURNING session_epoch");
    let row = tx
        .query_one_raw(raise.end())
        .await?
        .ok_or_else(|| not_found("agent", attach.id))?;
    let epoch: i64 = row.try_get_by_index(0)?;
    let epoch = u64::try_from(epoch).map_err(|_| corrupt("session epoch", epoch))?;
    let presence = Presence {
        agent_id: attach.id,
        replica: attach.replica.clone(),
        epoch,
        lease_until: attach.lease_until,
        last_seen: attach.time,
    };
    presence_put(tx, &presence).await?;
    Ok(epoch)
}

impl TryFrom<row::Model> for Agent {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        Ok(Self {
            id: AgentId::from_uuid(row.id),
            name: row.name,
            labels: from_json("labels of an agent", &row.labels)?,
            facts: Bytes::from(row.facts),
            connections: from_json("connections of an agent", &row.connections)?,
            enrolled_at: UnixMicros(row.enrolled_at),
            last_seen_at: row.last_seen_at.map(UnixMicros),
            session_epoch: count("session epoch", row.session_epoch)?,
            removed: row.removed,
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `agent`, with the last sign of life of its presence. Labels and connections are JSON text.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agent")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub labels: String,
        pub facts: Vec<u8>,
        pub connections: String,
        pub enrolled_at: i64,
        pub last_seen_at: Option<i64>,
        pub session_epoch: i64,
        pub removed: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
