//! Rows and statements.

use sea_orm::{ConnectionTrait, EntityTrait, IntoActiveModel};

use crate::store::sql::Outcome;

pub(super) async fn setting_get(db: &impl ConnectionTrait, key: &str) -> Outcome<Option<Vec<u8>>> {
    Ok(row::Entity::find_by_id(key.to_owned())
        .one(db)
        .await?
        .map(|row| row.value))
}

pub(super) async fn setting_init(tx: &impl ConnectionTrait, key: &str, value: &[u8]) -> Outcome<Vec<u8>> {
    if let Some(value) = setting_get(tx, key).await? {
        return Ok(value);
    }
    let row = row::Model {
        name: key.to_owned(),
        value: value.to_vec(),
    };
    row::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(value.to_vec())
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `setting`: keys and values of the installation.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "setting")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub value: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
