//! Rows and statements. On SQLite the same statements work on `chunks.db`, and on `main.db` for small output.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{id::AttemptId, time::UnixMicros};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Value,
};
use uuid::Uuid;

use self::row::{Column, Entity, Model};
use crate::store::{
    Error, Result,
    execution::apply::LAST_REVISION,
    record::{Appended, Chunk, ChunkStart, Execution},
    sql::{Batch, Outcome, Sql, corrupt, count, outcome, outcome_bytes, parts, records, stored},
};

/// Chunks looked at for one read; more than this many are never returned at once.
const MOST_CHUNKS: u64 = 1_024;

pub(super) async fn append_chunks(tx: &impl ConnectionTrait, chunks: &[Chunk]) -> Outcome<Vec<Appended>> {
    let mut wanted = next_seqs(tx, chunks.iter().map(|chunk| chunk.attempt_id)).await?;
    let mut accepted = Vec::with_capacity(chunks.len());
    let mut answers = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let next_seq = wanted.entry(chunk.attempt_id).or_insert(0);
        // A chunk without events would share its place with the next one.
        let stored = chunk.first_seq == *next_seq && chunk.event_count > 0;
        if stored {
            *next_seq = chunk.next_seq();
            accepted.push(chunk);
        }
        answers.push(Appended {
            next_seq: *next_seq,
            stored,
        });
    }
    for part in parts(&accepted) {
        let rows = part.iter().map(|chunk| row_of(chunk));
        let insert = "INSERT INTO chunk (attempt_id, first_seq, event_count, first_line, line_count, raw_size, \
                      first_time, last_time, codec, outcome, payload) VALUES ";
        tx.execute_raw(Sql::new(tx.get_database_backend(), insert).rows(rows).end())
            .await?;
    }
    Ok(answers)
}

/// Stores the only chunks of attempts, each if its execution was changed by this transaction to a revision that is
/// `behind` the last one.
pub(in crate::store) fn insert_with_execution<'a>(
    backend: DbBackend,
    batch: &mut Batch,
    whole: impl Iterator<Item = (i64, &'a Execution, &'a Chunk)>,
) {
    const COLUMNS: &str = "attempt_id, first_seq, event_count, first_line, line_count, raw_size, \
                           first_time, last_time, codec, outcome, payload";
    let rows: Vec<[Value; 14]> = whole
        .map(|(behind, execution, chunk)| {
            let [a, b, c, d, e, f, g, h, i, j, k] = row_of(chunk);
            let task = execution.task_id.uuid().into();
            let agent = execution.agent_id.uuid().into();
            [a, b, c, d, e, f, g, h, i, j, k, task, agent, behind.into()]
        })
        .collect();
    for part in parts(&rows) {
        let insert = Sql::new(
            backend,
            &format!("WITH new ({COLUMNS}, task, agent, behind) AS (VALUES "),
        )
        .rows(part.iter().cloned())
        .text(&format!(
            ") INSERT INTO chunk ({COLUMNS}) SELECT {} FROM new \
                 JOIN execution ON execution.task_id = new.task AND execution.agent_id = new.agent \
                 WHERE execution.revision = {LAST_REVISION} - new.behind ON CONFLICT DO NOTHING",
            COLUMNS
                .replace("attempt_id", "new.attempt_id")
                .replace("outcome", "new.outcome"),
        ));
        batch.add(insert);
    }
}

fn row_of(chunk: &Chunk) -> [Value; 11] {
    [
        chunk.attempt_id.uuid().into(),
        stored(chunk.first_seq).into(),
        i64::from(chunk.event_count).into(),
        stored(chunk.first_line).into(),
        stored(chunk.line_count).into(),
        stored(chunk.raw_size).into(),
        chunk.first_time.0.into(),
        chunk.last_time.0.into(),
        i64::from(chunk.codec).into(),
        outcome_bytes(chunk.outcome.as_ref()).into(),
        chunk.payload.to_vec().into(),
    ]
}

/// First event that is not stored, for each of these attempts that has chunks.
pub(super) async fn next_seqs(
    db: &impl ConnectionTrait,
    attempts: impl Iterator<Item = AttemptId>,
) -> Outcome<BTreeMap<AttemptId, u64>> {
    let mut attempts: Vec<AttemptId> = attempts.collect();
    attempts.sort_unstable();
    attempts.dedup();
    let mut found = BTreeMap::new();
    for part in parts(&attempts) {
        let rows = part.iter().map(|id| [Value::from(id.uuid())]);
        let select = Sql::new(db.get_database_backend(), "WITH wanted (attempt) AS (VALUES ")
            .rows(rows)
            .text(
                ") SELECT attempt, (SELECT chunk.first_seq + chunk.event_count FROM chunk \
             WHERE chunk.attempt_id = wanted.attempt ORDER BY chunk.first_seq DESC LIMIT 1) FROM wanted",
            );
        for row in db.query_all_raw(select.end()).await? {
            let (attempt, next): (Uuid, Option<i64>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            if let Some(next) = next {
                let next = u64::try_from(next).map_err(|_| corrupt("chunk", next))?;
                found.insert(AttemptId::from_uuid(attempt), next);
            }
        }
    }
    Ok(found)
}

/// The chunk to begin with, by its first event; none when everything is before `start`.
async fn first_chunk(db: &impl ConnectionTrait, attempt: AttemptId, start: ChunkStart) -> Outcome<Option<i64>> {
    let chunks = || {
        Entity::find()
            .select_only()
            .column(Column::FirstSeq)
            .filter(Column::AttemptId.eq(attempt.uuid()))
            .limit(1)
    };
    match start {
        ChunkStart::Seq(seq) => {
            let holds = chunks()
                .filter(Column::FirstSeq.lte(stored(seq)))
                .order_by_desc(Column::FirstSeq);
            let holds: Option<i64> = holds.into_tuple().one(db).await?;
            Ok(holds.or(Some(0)))
        }
        // A line may span chunks: it begins where the line end before it is, which may be the last byte there.
        // Lines are contiguous like events, so that chunk is the one before the first that begins at or after the line.
        ChunkStart::Line(line) => {
            let after = chunks()
                .filter(Column::FirstLine.gte(stored(line)))
                .order_by_asc(Column::FirstLine);
            let after: Option<i64> = after.order_by_asc(Column::FirstSeq).into_tuple().one(db).await?;
            let Some(after) = after else {
                return last_chunk_with(db, attempt, line).await;
            };
            let before = chunks()
                .filter(Column::FirstSeq.lt(after))
                .order_by_desc(Column::FirstSeq);
            let before: Option<i64> = before.into_tuple().one(db).await?;
            Ok(before.or(Some(after)))
        }
    }
}

async fn last_chunk_with(db: &impl ConnectionTrait, attempt: AttemptId, line: u64) -> Outcome<Option<i64>> {
    let last: Option<(i64, i64, i64)> = Entity::find()
        .select_only()
        .columns([Column::FirstSeq, Column::FirstLine, Column::LineCount])
        .filter(Column::AttemptId.eq(attempt.uuid()))
        .order_by_desc(Column::FirstSeq)
        .limit(1)
        .into_tuple()
        .one(db)
        .await?;
    Ok(last
        .filter(|(_, first, count)| first + count >= stored(line))
        .map(|(seq, _, _)| seq))
}

/// A chunk with the length of its payload instead of the payload.
#[derive(Debug, FromQueryResult)]
struct Bare {
    attempt_id: Uuid,
    first_seq: i64,
    event_count: i64,
    first_line: i64,
    line_count: i64,
    raw_size: i64,
    first_time: i64,
    last_time: i64,
    codec: i64,
    outcome: Option<Vec<u8>>,
    payload_size: i64,
}

async fn bare(db: &impl ConnectionTrait, attempt: AttemptId, start: ChunkStart, limit: u64) -> Outcome<Vec<Bare>> {
    let Some(first) = first_chunk(db, attempt, start).await? else {
        return Ok(Vec::new());
    };
    let sql = "SELECT attempt_id, first_seq, event_count, first_line, line_count, raw_size, first_time, last_time, codec, \
               outcome, CAST(length(payload) AS bigint) AS payload_size FROM chunk WHERE attempt_id = ";
    let mut select = Sql::new(db.get_database_backend(), sql)
        .bind(attempt.uuid())
        .text(" AND first_seq >= ")
        .bind(first);
    if let ChunkStart::Seq(seq) = start {
        select = select.text(" AND first_seq + event_count > ").bind(stored(seq));
    }
    let select = select.text(" ORDER BY first_seq LIMIT ").bind(stored(limit));
    Ok(Bare::find_by_statement(select.end()).all(db).await?)
}

pub(super) async fn read(
    db: &impl ConnectionTrait,
    attempt: AttemptId,
    start: ChunkStart,
    max_bytes: usize,
) -> Outcome<Vec<Chunk>> {
    let mut total = 0;
    let fits = |chunk: &&Bare| {
        let first = total == 0;
        total += usize::try_from(chunk.payload_size).unwrap_or(usize::MAX / 2).max(1);
        first || total <= max_bytes
    };
    let headers = bare(db, attempt, start, MOST_CHUNKS).await?;
    let fitting: Vec<&Bare> = headers.iter().take_while(fits).collect();
    let (Some(first), Some(last)) = (fitting.first(), fitting.last()) else {
        return Ok(Vec::new());
    };
    let rows = Entity::find()
        .filter(Column::AttemptId.eq(attempt.uuid()))
        .filter(Column::FirstSeq.between(first.first_seq, last.first_seq))
        .order_by_asc(Column::FirstSeq);
    Ok(records(rows.all(db).await?)?)
}

pub(super) async fn index(
    db: &impl ConnectionTrait,
    attempt: AttemptId,
    from_seq: u64,
    limit: u32,
) -> Outcome<Vec<Chunk>> {
    let headers = bare(db, attempt, ChunkStart::Seq(from_seq), u64::from(limit)).await?;
    let model = |bare: Bare| Model {
        attempt_id: bare.attempt_id,
        first_seq: bare.first_seq,
        event_count: bare.event_count,
        first_line: bare.first_line,
        line_count: bare.line_count,
        raw_size: bare.raw_size,
        first_time: bare.first_time,
        last_time: bare.last_time,
        codec: bare.codec,
        outcome: bare.outcome,
        payload: Vec::new(),
    };
    Ok(records(headers.into_iter().map(model).collect())?)
}

impl TryFrom<row::Model> for Chunk {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        Ok(Self {
            attempt_id: AttemptId::from_uuid(row.attempt_id),
            first_seq: count("chunk", row.first_seq)?,
            event_count: count("chunk", row.event_count)?,
            first_line: count("chunk", row.first_line)?,
            line_count: count("chunk", row.line_count)?,
            raw_size: count("chunk", row.raw_size)?,
            first_time: UnixMicros(row.first_time),
            last_time: UnixMicros(row.last_time),
            codec: count("chunk", row.codec)?,
            payload: Bytes::from(row.payload),
            outcome: outcome(row.outcome)?,
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `chunk`: in `chunks.db` on SQLite, partitioned by attempt on PostgreSQL.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "chunk")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub attempt_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub first_seq: i64,
        pub event_count: i64,
        pub first_line: i64,
        pub line_count: i64,
        pub raw_size: i64,
        pub first_time: i64,
        pub last_time: i64,
        pub codec: i64,
        pub outcome: Option<Vec<u8>>,
        pub payload: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
