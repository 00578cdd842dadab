//! The readers of a SQLite store, for tests: how many of them are at work, and all of them at once.

use sea_orm::{DatabaseConnection, DatabaseTransaction, TransactionTrait};

use crate::store::{Store, tx::Engine};

/// Readers that nobody else has until this is dropped.
pub(crate) struct Taken {
    _readers: Vec<DatabaseTransaction>,
}

impl Store {
    /// Those of everything but large output, and those of that.
    fn readers(&self) -> [&DatabaseConnection; 2] {
        match self.engine() {
            Engine::Sql(sql) => [sql.main.read(), sql.chunks.read()],
            Engine::Memory(_) => panic!("maps have no readers"),
        }
    }

    /// How many of its readers are at work.
    pub(crate) fn readers_at_work(&self) -> usize {
        let at_work = |reader: &DatabaseConnection| {
            let pool = reader.get_sqlite_connection_pool();
            (pool.size() as usize).saturating_sub(pool.num_idle())
        };
        self.readers().into_iter().map(at_work).sum()
    }

    /// Takes all of its readers, one after the other as they are free.
    pub(crate) async fn take_readers(&self) -> Taken {
        let mut taken = Vec::new();
        for reader in self.readers() {
            let all = reader.get_sqlite_connection_pool().options().get_max_connections();
            for _ in 0..all {
                taken.push(reader.begin().await.expect("a reader"));
            }
        }
        Taken { _readers: taken }
    }
}
