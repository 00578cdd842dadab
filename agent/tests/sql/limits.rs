//! Rows around every limit: none vanishes.

use std::{fmt::Write as _, time::Duration};

use opslink::task::{ExecutionState, SqlTransaction};
use opslink_harness::database::Database;

use crate::support::{Ran, run, spec};

fn lengths(ran: &Ran) -> Vec<Option<usize>> {
    ran.rows
        .iter()
        .map(|row| row.get(1).cloned().flatten().map(|cell| cell.len()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_vanishes_beside_a_big_one() {
    let postgres = Database::postgres().unwrap();
    let mariadb = Database::mariadb().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}", folder.path().join("x.db").display());
    let mib = 1024 * 1024;
    let sizes: Vec<usize> = vec![1, 70_000, 3_000_000, 1, mib - 1, mib, mib + 1, 2 * mib, 0, 9_000_000, 5];
    for (url, repeat) in [
        (postgres.url(), "repeat('x', n)"),
        (mariadb.url(), "repeat('x', n)"),
        (
            sqlite,
            "replace(hex(zeroblob(n / 2)), '0', 'x') || substr('x', 1, n % 2)",
        ),
    ] {
        let mut script = "CREATE TABLE s (i int, n int); INSERT INTO s VALUES (-1, NULL)".to_owned();
        for (index, size) in sizes.iter().enumerate() {
            write!(script, ", ({index}, {size})").unwrap();
        }
        if url.starts_with("mysql") {
            script = format!("SET GLOBAL max_allowed_packet = 64 * 1024 * 1024; {script}");
            assert_eq!(run(&url, spec(&script)).await.state(), ExecutionState::Succeeded);
            script = "SELECT 1".to_owned();
        }
        let ran = run(
            &url,
            spec(&format!("{script}; SELECT i, {repeat}, i FROM s ORDER BY i")),
        )
        .await;
        assert_eq!(ran.state(), ExecutionState::Succeeded, "{url}: {:?}", ran.result);
        let mut expected: Vec<Option<usize>> = vec![None];
        expected.extend(sizes.iter().copied().map(Some));
        let found = lengths(&ran);
        assert_eq!(found[found.len() - expected.len()..], expected, "{url}");
        assert_eq!(ran.rows.last().unwrap()[2].as_deref(), Some("10"), "{url}");
        assert!(ran.pieces > 4, "{url}: {} pieces", ran.pieces);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_kept_fails_its_statement_and_not_the_session() {
    let database = Database::postgres().unwrap();
    let url = database.url();
    let mut script = spec("SELECT 1; SELECT repeat('x', 70 * 1024 * 1024 * n) FROM generate_series(0, 1) n; SELECT 3");
    script.on_error = opslink::task::SqlOnError::Continue;
    script.transaction = SqlTransaction::PerStatement;
    script.statement_timeout = Some(Duration::from_secs(60));
    let ran = run(&url, script).await;
    assert_eq!(
        (ran.state(), ran.ends.len(), ran.last()),
        (ExecutionState::Failed, 3, "3")
    );
    assert!(
        ran.error().message.starts_with("row 2 of the result has"),
        "{}",
        ran.error().message
    );
}
