//! Rows and statements.

use std::collections::BTreeMap;

use opslink::{id::AgentId, time::UnixMicros};
use sea_orm::{ConnectionTrait, QueryResult, Value};
use uuid::Uuid;

use crate::store::{
    record::{AgentSeen, Presence},
    sql::{Outcome, Sql, count, parts, stored},
};

const SELECT: &str = "SELECT agent_id, replica, epoch, lease_until, last_seen FROM presence ";

fn read(row: &QueryResult) -> Outcome<Presence> {
    let agent: Uuid = row.try_get_by_index(0)?;
    Ok(Presence {
        agent_id: AgentId::from_uuid(agent),
        replica: row.try_get_by_index(1)?,
        epoch: count("presence", row.try_get_by_index(2)?)?,
        lease_until: UnixMicros(row.try_get_by_index(3)?),
        last_seen: UnixMicros(row.try_get_by_index(4)?),
    })
}

pub(super) async fn presence_get(db: &impl ConnectionTrait, agent: AgentId) -> Outcome<Option<Presence>> {
    let select = Sql::new(db.get_database_backend(), SELECT)
        .text("WHERE agent_id = ")
        .bind(agent.uuid());
    db.query_one_raw(select.end()).await?.as_ref().map(read).transpose()
}

/// A new link; signs of life never go back.
pub(in crate::store) async fn presence_put(tx: &impl ConnectionTrait, presence: &Presence) -> Outcome<()> {
    let insert = "INSERT INTO presence (agent_id, replica, epoch, lease_until, last_seen) VALUES ";
    let insert = Sql::new(tx.get_database_backend(), insert)
        .rows([[
            Value::from(presence.agent_id.uuid()),
            presence.replica.as_str().into(),
            stored(presence.epoch).into(),
            presence.lease_until.0.into(),
            presence.last_seen.0.into(),
        ]])
        .text(
            " ON CONFLICT (agent_id) DO UPDATE SET replica = excluded.replica, epoch = excluded.epoch, \
             lease_until = excluded.lease_until, last_seen = CASE WHEN presence.last_seen > excluded.last_seen \
             THEN presence.last_seen ELSE excluded.last_seen END",
        );
    tx.execute_raw(insert.end()).await?;
    Ok(())
}

pub(super) async fn presence_end(
    tx: &impl ConnectionTrait,
    agent: &AgentId,
    epoch: &u64,
    time: &UnixMicros,
) -> Outcome<()> {
    let update = Sql::new(tx.get_database_backend(), "UPDATE presence SET lease_until = ")
        .bind(time.0)
        .text(" WHERE agent_id = ")
        .bind(agent.uuid())
        .text(" AND epoch = ")
        .bind(stored(*epoch))
        .text(" AND lease_until > ")
        .bind(time.0);
    tx.execute_raw(update.end()).await?;
    Ok(())
}

pub(super) async fn presence_seen(
    tx: &impl ConnectionTrait,
    replica: &str,
    seen: &[AgentSeen],
    lease_until: &UnixMicros,
) -> Outcome<()> {
    // In id order, so that two such writes hardly ever wait for each other in a circle; the newest sign of each agent.
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
                ") UPDATE presence SET last_seen = CASE WHEN presence.last_seen > seen.at THEN presence.last_seen \
                 ELSE seen.at END, lease_until = CASE WHEN presence.replica = ",
            )
            .bind(replica)
            .text(" THEN ")
            .bind(lease_until.0)
            .text(" ELSE presence.lease_until END FROM seen WHERE presence.agent_id = seen.id");
        tx.execute_raw(update.end()).await?;
    }
    Ok(())
}
