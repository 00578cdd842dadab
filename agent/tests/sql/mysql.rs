//! MariaDB as its own client would treat it.

use std::time::Duration;

use opslink::task::{ExecutionState, SqlSpec, SqlTransaction};
use opslink_agent::connections::Connection;
use opslink_harness::database::Database;

use crate::support::{cells, run, run_on, spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_mean_what_they_mean_to_the_client() {
    let database = Database::mariadb().unwrap();
    let url = database.url();
    let script = "CREATE TABLE position (a int);\n\
                  DELIMITER $$\n\
                  CREATE PROCEDURE p() BEGIN SELECT 1 AS a; END$$\n\
                  DELIMITER ;\n\
                  /*M!100100 CREATE TABLE m (b int) */;\n\
                  CALL p(); SELECT count(*) FROM m;";
    let ran = run(&url, spec(script)).await;
    assert_eq!(ran.state(), ExecutionState::Succeeded, "{:?}", ran.result);
    assert_eq!((ran.headers.len(), ran.last()), (2, "0"));
    let mode = database
        .client("SELECT sql_mode LIKE '%IGNORE_SPACE%' FROM mysql.proc WHERE name = 'p'")
        .unwrap();
    assert_eq!(mode.trim(), "0", "no flag of ours is saved into a routine");

    let text = "CREATE TABLE x (a varchar(20) COLLATE utf8mb4_bin, b json, c uuid, d inet6, e varbinary(4));\n\
                INSERT INTO x VALUES ('café', '[1]', '123e4567-e89b-12d3-a456-426655440000', '::1', x'00ff');\n\
                SELECT * FROM x; UPDATE x SET a = 'café'";
    let ran = run(&url, spec(text)).await;
    let expected = ["café", "[1]", "123e4567-e89b-12d3-a456-426655440000", "::1", "00ff"];
    assert_eq!(cells(&ran.rows[0]), expected, "{:?}", ran.result);
    assert_eq!(ran.ends[3].rows_affected, Some(0), "rows changed, not rows found");

    let warned = run(
        &url,
        spec("SET sql_mode = ''; CREATE TABLE w (a tinyint); INSERT INTO w VALUES (1000)"),
    )
    .await;
    assert!(warned.notes[0].starts_with("1 warning"), "{:?}", warned.notes);
    let local = run(
        &url,
        spec("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE w; SELECT count(*) FROM w"),
    )
    .await;
    assert!(
        local.error().message.contains("not given away"),
        "{}",
        local.error().message
    );
    assert_eq!(run(&url, spec("SELECT count(*) FROM w")).await.last(), "1");

    let mut connection = Connection::new("main", &url).unwrap();
    connection.session = vec!["SET time_zone = '+08:00'".to_owned()];
    let ran = run_on(connection, spec("SELECT @@time_zone"), None, Duration::from_secs(5)).await;
    assert_eq!(ran.last(), "+08:00");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_transaction_is_told_as_it_went() {
    let database = Database::mariadb().unwrap();
    let url = database.url();
    let single = |script: &str| SqlSpec {
        transaction: SqlTransaction::Single,
        ..spec(script)
    };
    let ran = run(
        &url,
        single(
            "CREATE TABLE a (n int) ENGINE=InnoDB;\nINSERT INTO a VALUES (1);\nCREATE TABLE b (n int) ENGINE=MyISAM;\n\
                INSERT INTO a VALUES (2);\nINSERT INTO nowhere VALUES (1)",
        ),
    )
    .await;
    let told = ran.notes.last().unwrap();
    assert!(
        told.contains("after the CREATE at line 3 was rolled back"),
        "{:?}",
        ran.notes
    );
    assert_eq!(run(&url, spec("SELECT count(*) FROM a")).await.last(), "1");
    let ran = run(
        &url,
        single("INSERT INTO a VALUES (3); INSERT INTO b VALUES (3); INSERT INTO nowhere VALUES (1)"),
    )
    .await;
    let told = ran.notes.last().unwrap();
    assert!(
        told.starts_with("not everything could be rolled back"),
        "{:?}",
        ran.notes
    );
    assert_eq!(run(&url, spec("SELECT count(*) FROM b")).await.last(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_cannot_be_undone_by_the_script() {
    let database = Database::mariadb().unwrap();
    let url = database.url();
    let reading = |script: &str| SqlSpec {
        read_only: true,
        ..spec(script)
    };
    let setup = "CREATE TABLE t (a int);\nDELIMITER //\nCREATE PROCEDURE w() BEGIN START TRANSACTION READ WRITE; INSERT INTO t VALUES (1); COMMIT; END//\n";
    assert_eq!(run(&url, spec(setup)).await.state(), ExecutionState::Succeeded);
    for script in [
        "START TRANSACTION READ WRITE; INSERT INTO t VALUES (1); COMMIT",
        "SET SESSION TRANSACTION READ WRITE; INSERT INTO t VALUES (1)",
        "CALL w()",
        "EXECUTE IMMEDIATE 'INSERT INTO t VALUES (1)'",
        "CREATE TABLE u (a int)",
    ] {
        assert_eq!(
            run(&url, reading(script)).await.reason(),
            "READ_ONLY_REFUSED",
            "{script}"
        );
    }
    let inside = "BEGIN; SELECT 1; COMMIT; WITH x AS (SELECT 1) SELECT count(*) FROM t, x";
    let reads = run(&url, reading(inside)).await;
    assert_eq!(
        (reads.state(), reads.last()),
        (ExecutionState::Succeeded, "0"),
        "{:?}",
        reads.result
    );
    assert_eq!(run(&url, spec("SELECT count(*) FROM t")).await.last(), "0");
}
