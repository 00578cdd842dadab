//! Table `task`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub spec: Vec<u8>,
    pub selector: Vec<u8>,
    pub max_parallel: i64,
    pub max_failures: i64,
    pub queue_ttl_secs: Option<i64>,
    pub created_by: String,
    pub created_at: i64,
    pub request_id: Option<String>,
    pub request_hash: Vec<u8>,
    pub reason: String,
    pub cancel_requested: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
