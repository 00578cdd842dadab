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
