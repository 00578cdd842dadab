//! What the sql executor is tried with, on an empty SQLite database.

use opslink::kind::{Action, SqlOnError, SqlSpec, SqlTransaction};

use crate::executor::conformance::{Sample, Sampled};

impl Sampled for SqlSpec {
    fn sample() -> Sample {
        Sample {
            endless: sql("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"),
            bad: sql("  \n"),
            failing: sql("SELECT nonsense FROM nowhere"),
            raw: None,
        }
    }
}

fn sql(script: &str) -> Action {
    Action::Sql(SqlSpec {
        script: script.to_owned(),
        connection: None,
        transaction: SqlTransaction::PerStatement,
        on_error: SqlOnError::Stop,
        max_rows: None,
        statement_timeout: None,
        read_only: false,
        name: String::new(),
    })
}
