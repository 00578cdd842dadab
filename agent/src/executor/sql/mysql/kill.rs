//! Ending a statement of MySQL from outside. There is no way without a log-in; it is bounded, and one that fails is told.

use std::time::Duration;

use async_trait::async_trait;
use mysql_async::{OptsBuilder, prelude::Queryable as _};

use super::{
    super::{
        error::Error,
        session::{Killer, timed},
    },
    connect,
    said::error_of,
};

/// How long one try may take: two of them and a wait end before the runner's own hard end.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Kill {
    pub(super) options: OptsBuilder,
    pub(super) thread: u32,
}

impl Kill {
    async fn kill(&self, what: &str) -> Result<(), Error> {
        timed(LIMIT, async {
            let mut connection = connect(self.options.clone()).await?;
            let sql = format!("KILL {what} {}", self.thread);
            let killed = connection.query_drop(&sql).await;
            // The close is a courtesy.
            let _ = tokio::time::timeout(super::super::CLOSE_LIMIT, connection.disconnect()).await;
            match killed.map_err(|error| error_of(error, &sql)) {
                // No such thread: it has ended.
                Err(Error::Said(said)) if said.code == "1094" => Ok(()),
                killed => killed,
            }
        })
        .await
    }
}

#[async_trait]
impl Killer for Kill {
    async fn ask(&self) -> Result<(), Error> {
        self.kill("QUERY").await
    }

    async fn end_session(&self) -> Result<(), Error> {
        self.kill("CONNECTION").await
    }
}
