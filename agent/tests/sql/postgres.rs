//! PostgreSQL as psql would treat it.

use std::time::{Duration, Instant};

use opslink::task::{ExecutionState, SqlOnError, SqlSpec, SqlTransaction};
use opslink_agent::connections::Connection;
use opslink_harness::{database::Database, proxy::Proxy, wait_for};
use tokio_util::sync::CancellationToken;

use crate::support::{cells, run, run_on, run_with, spec};

fn continuing(script: &str) -> SqlSpec {
    SqlSpec {
        on_error: SqlOnError::Continue,
        ..spec(script)
    }
}

fn single(script: &str) -> SqlSpec {
    SqlSpec {
        transaction: SqlTransaction::Single,
        ..spec(script)
    }
}

fn reading(script: &str) -> SqlSpec {
    SqlSpec {
        read_only: true,
        ..spec(script)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_stay_with_their_statements() {
    let database = Database::postgres().unwrap();
    let url = database.url();
    let script = "CREATE TABLE t (a int);\n\
                  COPY (SELECT 1 / (3 - n) FROM generate_series(1, 5) n) TO stdout;\n\
                  UPDATE t SET a = 1 / 0 WHERE false OR a IS NULL;\n\
                  INSERT INTO t VALUES (1), (2);\n\
                  UPDATE nothing SET a = 1;\n\
                  COPY t TO stdout;\n\
                  COPY t FROM stdin;\nx\n\\.\n\
                  COPY t FROM stdin;\n3\n\\.\n\
                  SELECT count(*) FROM t;";
    let ran = run(&url, continuing(script)).await;
    let failed: Vec<bool> = ran.ends.iter().map(|end| end.error.is_some()).collect();
    assert_eq!(failed, [false, true, true, false, true, false, true, false, false]);
    assert_eq!((ran.stdout.as_str(), ran.last()), ("0\n1\n1\n2\n", "3"));

    let rule = "CREATE TABLE audit (a int); INSERT INTO audit VALUES (1), (2), (3);\n\
                CREATE RULE r AS ON DELETE TO t DO ALSO (INSERT INTO audit VALUES (9); DELETE FROM audit; SELECT 1);\n\
                SELECT count(*) FROM audit";
    assert_eq!(run(&url, spec(rule)).await.last(), "3");

    // 200 blocks took 8.8 s when each waited for a delayed acknowledgement.
    let blocks = "COPY t FROM stdin;\n7\n\\.\n".repeat(200);
    let started = Instant::now();
    assert_eq!(run(&url, spec(&blocks)).await.state(), ExecutionState::Succeeded);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());

    let listen = run(&url, spec("LISTEN a; NOTIFY a, 'hello'; SELECT 1")).await;
    assert_eq!(listen.state(), ExecutionState::Succeeded, "{:?}", listen.result);
    assert!(
        listen.notes[0].contains("“a” with payload “hello”"),
        "{:?}",
        listen.notes
    );

    let notice = "DO $$ BEGIN RAISE WARNING 'careful' USING DETAIL = 'why', HINT = 'do this'; END $$";
    let notice = run(&url, spec(notice)).await;
    assert!(
        notice.notes[0].starts_with("careful\nDETAIL:  why\nHINT:  do this\nCONTEXT:  PL/pgSQL"),
        "{:?}",
        notice.notes
    );

    let open = run(&url, spec("BEGIN; INSERT INTO t VALUES (1)")).await;
    assert!(
        open.notes.iter().any(|note| note.contains("inside of a transaction")),
        "{:?}",
        open.notes
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_the_servers_own() {
    let database = Database::postgres().unwrap();
    let url = database.url();
    database
        .client("ALTER DATABASE ops SET timezone TO 'Asia/Shanghai'")
        .unwrap();
    database
        .client("ALTER DATABASE ops SET datestyle TO 'ISO, DMY'")
        .unwrap();
    let ran = run(
        &url,
        spec("SELECT extract(epoch FROM timestamptz '2024-01-01 08:00'), date '01/02/2024'"),
    )
    .await;
    assert_eq!(cells(&ran.rows[0]), ["1704067200.000000", "2024-02-01"]);

    let mut connection = Connection::new("main", &url).unwrap();
    connection.session = vec!["SET datestyle TO 'ISO, MDY'".to_owned()];
    let ran = run_on(
        connection.clone(),
        spec("SELECT date '01/02/2024'"),
        None,
        Duration::from_secs(5),
    )
    .await;
    assert_eq!(ran.last(), "2024-01-02");
    connection.session.push("SET nonsense TO 1".to_owned());
    let ran = run_on(connection, spec("SELECT 1"), None, Duration::from_secs(5)).await;
    let failure = ran.result.unwrap_err();
    assert_eq!(failure.reason, "CONNECTIONS_INVALID");
    assert!(
        failure.message.contains("statement 2 of its session"),
        "{}",
        failure.message
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_cannot_be_undone_by_the_script() {
    let database = Database::postgres().unwrap();
    let url = database.url();
    database.client("CREATE TABLE t (a int)").unwrap();
    for script in [
        "BEGIN READ WRITE; INSERT INTO t VALUES (1); COMMIT",
        "SET default_transaction_read_only = off; INSERT INTO t VALUES (2)",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; INSERT INTO t VALUES (3)",
    ] {
        assert_eq!(
            run(&url, reading(script)).await.reason(),
            "READ_ONLY_REFUSED",
            "{script}"
        );
    }
    for script in [
        "INSERT INTO t VALUES (4)",
        "BEGIN; INSERT INTO t VALUES (5); COMMIT",
        "BEGIN; COMMIT AND CHAIN; INSERT INTO t VALUES (6); COMMIT",
        "DO $$ BEGIN COMMIT; INSERT INTO t VALUES (7); END $$",
        "DO $$ BEGIN PERFORM set_config('transaction_' || 'read_only', 'off', false); INSERT INTO t VALUES (8); END $$",
        "SELECT set_config('default_transaction_' || 'read_only', 'off', false); INSERT INTO t VALUES (9)",
        "SELECT set_config('standard_conforming_' || 'strings', 'off', false);\n\
         SELECT '\\''; COMMIT; BEGIN READ/**/WRITE; INSERT INTO t VALUES (10); COMMIT; --'",
    ] {
        let ran = run(&url, reading(script)).await;
        assert_eq!(ran.state(), ExecutionState::Failed, "{script}");
    }
    assert_eq!(database.client("SELECT count(*) FROM t").unwrap().trim(), "0");
    let reads = run(&url, reading("BEGIN; SELECT 1; COMMIT; SELECT count(*) FROM t")).await;
    assert_eq!((reads.state(), reads.last()), (ExecutionState::Succeeded, "0"));

    let mut connection = Connection::new("main", &url).unwrap();
    connection.is_read_only = true;
    let ran = run_on(
        connection,
        spec("INSERT INTO t VALUES (11)"),
        None,
        Duration::from_secs(5),
    )
    .await;
    assert_eq!(ran.state(), ExecutionState::Failed, "the owner's word counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rolled_back_is_told_as_it_is() {
    let database = Database::postgres().unwrap();
    let url = database.url();
    database.client("CREATE TABLE t (a int)").unwrap();
    let ran = run(
        &url,
        single("INSERT INTO t VALUES (1);\nCOMMIT;\nINSERT INTO t VALUES (2);\nSELECT 1 / 0"),
    )
    .await;
    assert_eq!(ran.state(), ExecutionState::Failed);
    let told = ran.notes.last().unwrap();
    assert!(
        told.contains("after the COMMIT at line 2 was rolled back"),
        "{:?}",
        ran.notes
    );
    assert_eq!(database.client("SELECT sum(a) FROM t").unwrap().trim(), "1");
    let ran = run(&url, single("INSERT INTO t VALUES (3);\nSELECT 1 / 0")).await;
    assert!(
        ran.notes.iter().any(|note| note == "everything was rolled back"),
        "{:?}",
        ran.notes
    );

    database
        .client("ALTER TABLE t ADD CONSTRAINT u UNIQUE (a) DEFERRABLE INITIALLY DEFERRED")
        .unwrap();
    let ran = run(&url, single("INSERT INTO t VALUES (5), (5)")).await;
    let finish = ran.result.unwrap();
    assert!(
        finish.message.starts_with("the COMMIT at the end"),
        "{}",
        finish.message
    );
    assert_eq!(database.client("SELECT sum(a) FROM t").unwrap().trim(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_needs_no_second_login() {
    let database = Database::postgres().unwrap();
    database
        .client("CREATE ROLE once LOGIN PASSWORD 'x' CONNECTION LIMIT 1")
        .unwrap();
    let url = database.url().replace("ops:harness-secret@", "once:x@");
    let started = Instant::now();
    let ran = run_with(&url, spec("SELECT pg_sleep(60)"), Some(CancellationToken::new())).await;
    assert_eq!(ran.reason(), "CANCELED");
    assert!(
        ran.error().message.contains("ended on request"),
        "{}",
        ran.error().message
    );
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_may_still_run_is_told() {
    let database = Database::postgres().unwrap();
    let address = database
        .url()
        .rsplit('@')
        .next()
        .unwrap()
        .trim_end_matches("/ops")
        .to_owned();
    let proxy = Proxy::start(&address).unwrap();
    let url = database
        .url()
        .replace(&address, proxy.url().trim_start_matches("https://"));
    let connection = Connection::new("main", &url).unwrap();
    let cancel = CancellationToken::new();
    let watch = cancel.clone();
    let asked = || {
        let active = || database.client("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'");
        wait_for("the statement to run", Duration::from_secs(20), || {
            active().is_ok_and(|count| count.trim() == "1")
        })
        .unwrap();
        proxy.stall(true);
        watch.cancel();
    };
    let script = spec("/* */ SELECT pg_sleep(60)");
    let running = tokio::spawn(crate::support::run_canceled(
        connection,
        script,
        cancel,
        Duration::from_secs(1),
    ));
    tokio::task::block_in_place(asked);
    let started = Instant::now();
    let ran = running.await.unwrap();
    assert_eq!(ran.reason(), "STATEMENT_LEFT", "{:?}", ran.result);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    proxy.stall(false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_commit_is_doubt_and_no_failure() {
    let database = Database::postgres().unwrap();
    database
        .client(
            "CREATE TABLE t (a int); \
             CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .unwrap();
    let address = database
        .url()
        .rsplit('@')
        .next()
        .unwrap()
        .trim_end_matches("/ops")
        .to_owned();
    let proxy = Proxy::start(&address).unwrap();
    let url = database
        .url()
        .replace(&address, proxy.url().trim_start_matches("https://"));
    let running = tokio::spawn(async move { run(&url, single("INSERT INTO t VALUES (1)")).await });
    tokio::task::block_in_place(|| {
        wait_for("the COMMIT", Duration::from_secs(20), || {
            let active = "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'";
            database.client(active).is_ok_and(|count| count.trim() == "1")
        })
        .unwrap();
        proxy.set_down(true);
    });
    let ran = running.await.unwrap();
    assert_eq!(
        (ran.state(), ran.reason()),
        (ExecutionState::Lost, "EFFECT_UNKNOWN"),
        "{:?}",
        ran.result
    );
    tokio::task::block_in_place(|| {
        wait_for("the commit, which nobody heard of", Duration::from_secs(20), || {
            database
                .client("SELECT count(*) FROM t")
                .is_ok_and(|count| count.trim() == "1")
        })
        .unwrap();
    });
}
