//! Rows and statements. `claimable_at` is when the row may be claimed: its due time, or the end of its lease.

use std::{collections::BTreeMap, time::Duration};

use opslink::time::UnixMicros;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};

use crate::store::{
    Error,
    record::{Claim, NewWork},
    sql::{Outcome, Sql, count, parts, stored},
};

/// `(?, ?, …)`
fn list(sql: Sql, kinds: &[String]) -> Sql {
    sql.rows([kinds.iter().map(|kind| Value::from(kind.as_str()))])
}

pub(super) async fn work_add(tx: &impl ConnectionTrait, work: &[NewWork]) -> Outcome<()> {
    // One row per kind and key, in one order: a statement may not touch a row twice.
    let mut earliest: BTreeMap<(&str, &str), UnixMicros> = BTreeMap::new();
    for new in work {
        let slot = earliest.entry((&new.kind, &new.key)).or_insert(new.due_at);
        *slot = (*slot).min(new.due_at);
    }
    let rows: Vec<[Value; 8]> = earliest
        .into_iter()
        .map(|((kind, key), due_at)| {
            let due_at = due_at.0;
            let nobody: Option<i64> = None;
            let no_reason: Option<String> = None;
            [
                kind.into(),
                key.into(),
                due_at.into(),
                due_at.into(),
                nobody.into(),
                0_i64.into(),
                1_i64.into(),
                no_reason.into(),
            ]
        })
        .collect();
    for part in parts(&rows) {
        let insert = Sql::new(
            tx.get_database_backend(),
            "INSERT INTO work (kind, name, due_at, claimable_at, lease_until, tries, adds, parked_reason) VALUES ",
        )
        .rows(part.iter().cloned())
        .text(
            " ON CONFLICT (kind, name) DO UPDATE SET adds = work.adds + 1, parked_reason = NULL, \
             tries = CASE WHEN work.parked_reason IS NULL THEN work.tries ELSE 0 END, \
             due_at = CASE WHEN work.parked_reason IS NULL AND work.due_at < excluded.due_at \
             THEN work.due_at ELSE excluded.due_at END, \
             claimable_at = CASE WHEN work.lease_until IS NOT NULL \
             OR work.parked_reason IS NULL AND work.claimable_at < excluded.claimable_at \
             THEN work.claimable_at ELSE excluded.claimable_at END",
        );
        tx.execute_raw(insert.end()).await?;
    }
    Ok(())
}

pub(super) async fn work_next(db: &impl ConnectionTrait, kinds: &[String]) -> Outcome<Option<UnixMicros>> {
    let mut next: Option<UnixMicros> = None;
    // One look into the index per kind.
    for kind in kinds {
        let sql = "SELECT claimable_at FROM work WHERE parked_reason IS NULL AND kind = ";
        let select = Sql::new(db.get_database_backend(), sql)
            .bind(kind.as_str())
            .text(" ORDER BY claimable_at LIMIT 1");
        let Some(row) = db.query_one_raw(select.end()).await? else {
            continue;
        };
        match row.try_get_by_index(0).map(UnixMicros) {
            Ok(at) => next = Some(next.map_or(at, |next| next.min(at))),
            // Behind every time that can be read: of this kind there is nothing else.
            Err(error) => tracing::error!(kind, %error, "a row of work is left out"),
        }
    }
    Ok(next)
}

pub(super) async fn work_claim(
    tx: &impl ConnectionTrait,
    kinds: &[String],
    now: &UnixMicros,
    lease: &Duration,
    limit: &u32,
) -> Outcome<Vec<Claim>> {
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let backend = tx.get_database_backend();
    let sql = "SELECT kind, name, due_at, tries, adds FROM work WHERE parked_reason IS NULL AND claimable_at <= ";
    let due = list(Sql::new(backend, sql).bind(now.0).text(" AND kind IN "), kinds)
        .text(" ORDER BY claimable_at, kind, name LIMIT ")
        .bind(i64::from(*limit));
    let due = match backend {
        // Whoever claims at the same time takes others.
        DbBackend::Postgres => due.text(" FOR UPDATE SKIP LOCKED"),
        _ => due,
    };
    let lease_until = now.plus(*lease);
    let due = due.end();
    let mut claims = loop {
        let (mut claims, mut parked) = (Vec::new(), 0);
        for row in tx.query_all_raw(due.clone()).await? {
            match claim(&row, lease_until) {
                Ok(claim) => claims.push(claim),
                Err(error) => parked += park_unreadable(tx, &row, &error.into()).await?,
            }
        }
        // Others have their place then.
        if parked == 0 {
            break claims;
        }
    };
    for part in parts(&claims) {
        let rows = part
            .iter()
            .map(|claim| [Value::from(claim.kind.as_str()), claim.key.as_str().into()]);
        // The next due time is the end of the lease, until somebody adds the work again or says when.
        let update = Sql::new(backend, "WITH claimed (kind, name) AS (VALUES ")
            .rows(rows)
            .text(") UPDATE work SET tries = tries + 1, due_at = ")
            .bind(lease_until.0)
            .text(", claimable_at = ")
            .bind(lease_until.0)
            .text(", lease_until = ")
            .bind(lease_until.0)
            .text(" FROM claimed WHERE work.kind = claimed.kind AND work.name = claimed.name");
        tx.execute_raw(update.end()).await?;
    }
    claims.sort_by(|a, b| (a.due_at, &a.kind, &a.key).cmp(&(b.due_at, &b.kind, &b.key)));
    Ok(claims)
}

fn claim(row: &QueryResult, lease_until: UnixMicros) -> Outcome<Claim> {
    let tries: u32 = count("work", row.try_get_by_index(3)?)?;
    Ok(Claim {
        kind: row.try_get_by_index(0)?,
        key: row.try_get_by_index(1)?,
        due_at: UnixMicros(row.try_get_by_index(2)?),
        tries: tries.saturating_add(1),
        lease_until,
        adds: count("work", row.try_get_by_index(4)?)?,
    })
}

/// Sets aside a row that cannot be read, so that it is in nobody's way; returns how many rows it was. Adding the
/// work again makes its row readable again.
async fn park_unreadable(tx: &impl ConnectionTrait, row: &QueryResult, error: &Error) -> Outcome<u64> {
    // As it is stored: a text, or on SQLite whatever somebody has put there.
    let column = |index: usize| {
        let text = row.try_get_by_index::<String>(index).map(Value::from);
        text.or_else(|_| row.try_get_by_index::<Vec<u8>>(index).map(Value::from))
    };
    let (kind, key) = (column(0)?, column(1)?);
    tracing::error!(?kind, ?key, %error, "work is parked: its row cannot be read");
    let park = Sql::new(
        tx.get_database_backend(),
        "UPDATE work SET lease_until = NULL, parked_reason = ",
    )
    .bind(error.to_string())
    .text(" WHERE kind = ")
    .bind(kind)
    .text(" AND name = ")
    .bind(key);
    Ok(tx.execute_raw(park.end()).await?.rows_affected())
}

/// Ends a statement: only the row of this claim, only while it is the newest.
fn of_claim(sql: Sql, claim: &Claim) -> Sql {
    sql.text(" WHERE kind = ")
        .bind(claim.kind.as_str())
        .text(" AND name = ")
        .bind(claim.key.as_str())
        .text(" AND lease_until = ")
        .bind(claim.lease_until.0)
        .text(" AND tries = ")
        .bind(i64::from(claim.tries))
}

/// It was added again meanwhile: it is due when that said.
async fn release(tx: &impl ConnectionTrait, claim: &Claim) -> Outcome<()> {
    let release = Sql::new(
        tx.get_database_backend(),
        "UPDATE work SET lease_until = NULL, tries = 0, claimable_at = due_at",
    );
    tx.execute_raw(of_claim(release, claim).end()).await?;
    Ok(())
}

pub(super) async fn work_done(tx: &impl ConnectionTrait, claim: &Claim) -> Outcome<()> {
    let delete = Sql::new(tx.get_database_backend(), "DELETE FROM work");
    let delete = of_claim(delete, claim).text(" AND adds = ").bind(stored(claim.adds));
    if tx.execute_raw(delete.end()).await?.rows_affected() == 0 {
        release(tx, claim).await?;
    }
    Ok(())
}

pub(super) async fn work_rest(tx: &impl ConnectionTrait, claim: &Claim, due_at: &UnixMicros) -> Outcome<()> {
    put_off(
        tx,
        "UPDATE work SET tries = 0, lease_until = NULL, claimable_at = ",
        claim,
        *due_at,
    )
    .await
}

pub(super) async fn work_again(tx: &impl ConnectionTrait, claim: &Claim, due_at: &UnixMicros) -> Outcome<()> {
    put_off(
        tx,
        "UPDATE work SET lease_until = NULL, claimable_at = ",
        claim,
        *due_at,
    )
    .await
}

/// Due then, or earlier if it was added again meanwhile.
async fn put_off(tx: &impl ConnectionTrait, update: &str, claim: &Claim, due_at: UnixMicros) -> Outcome<()> {
    let due = |sql: Sql| {
        sql.text("CASE WHEN adds <> ")
            .bind(stored(claim.adds))
            .text(" AND due_at < ")
            .bind(due_at.0)
            .text(" THEN due_at ELSE ")
            .bind(due_at.0)
            .text(" END")
    };
    let update = due(Sql::new(tx.get_database_backend(), update));
    let update = due(update.text(", due_at = "));
    tx.execute_raw(of_claim(update, claim).end()).await?;
    Ok(())
}

pub(super) async fn work_keep(tx: &impl ConnectionTrait, claim: &Claim, lease_until: &UnixMicros) -> Outcome<()> {
    // See `work_claim`: due at the end of the lease, unless it was added again meanwhile.
    let update = Sql::new(
        tx.get_database_backend(),
        "UPDATE work SET due_at = CASE WHEN due_at = ",
    )
    .bind(claim.lease_until.0)
    .text(" THEN ")
    .bind(lease_until.0)
    .text(" ELSE due_at END, claimable_at = ")
    .bind(lease_until.0)
    .text(", lease_until = ")
    .bind(lease_until.0);
    tx.execute_raw(of_claim(update, claim).end()).await?;
    Ok(())
}

pub(super) async fn work_let_go(tx: &impl ConnectionTrait, kind: &str, now: &UnixMicros) -> Outcome<()> {
    let update = Sql::new(
        tx.get_database_backend(),
        "UPDATE work SET lease_until = NULL, due_at = ",
    )
    .bind(now.0)
    .text(", claimable_at = ")
    .bind(now.0)
    .text(" WHERE lease_until IS NOT NULL AND kind = ")
    .bind(kind);
    tx.execute_raw(update.end()).await?;
    Ok(())
}

pub(super) async fn work_park(tx: &impl ConnectionTrait, claim: &Claim, reason: &str) -> Outcome<()> {
    let park = Sql::new(
        tx.get_database_backend(),
        "UPDATE work SET lease_until = NULL, parked_reason = ",
    )
    .bind(reason);
    let park = of_claim(park, claim).text(" AND adds = ").bind(stored(claim.adds));
    if tx.execute_raw(park.end()).await?.rows_affected() == 0 {
        release(tx, claim).await?;
    }
    Ok(())
}
