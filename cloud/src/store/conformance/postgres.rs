//! A PostgreSQL server for the tests, and what only that engine promises.
//!
//! `OPSLINK_TEST_POSTGRES_URL` names a server to use (a URL of a superuser). Without it the test process starts its own,
//! once: on a unix socket in a temporary folder. A small shell waits for the end of the test process, however that
//! comes, stops the server and removes the folder.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement, TransactionTrait};
use tokio::sync::Barrier;

use super::*;
use crate::store::{self, Tx};

/// Environment variable with the URL of a server.
const URL: &str = "OPSLINK_TEST_POSTGRES_URL";

struct Server {
    /// URL up to the database name, and what comes after it.
    url: (String, String),
    /// Holds the pipe whose end tells the shell to clean up.
    _guard: Option<Child>,
}

static SERVER: LazyLock<Result<Server, String>> = LazyLock::new(|| match std::env::var(URL) {
    Ok(url) => given(&url),
    Err(_) => start(),
});

fn given(url: &str) -> Result<Server, String> {
    let wrong = || format!("{URL}=`{url}` is no URL such as postgres://user:password@host:5432/postgres");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let (host, database) = rest.split_once('/').ok_or_else(wrong)?;
    let options = database
        .split_once('?')
        .map_or(String::new(), |(_, options)| format!("?{options}"));
    Ok(Server {
        url: (format!("{scheme}://{host}/"), options),
        _guard: None,
    })
}

/// The newest server that is installed.
fn programs() -> Result<PathBuf, String> {
    let complete = |folder: &PathBuf| {
        ["initdb", "pg_ctl", "postgres"]
            .iter()
            .all(|name| folder.join(name).is_file())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
                .collect()
        })
        .unwrap_or_default();
    versions.sort();
    versions.reverse();
    std::env::split_paths(&path).chain(versions).find(complete).ok_or_else(|| {
        format!(
            "the store's tests need a PostgreSQL server\nneither PATH nor /usr/lib/postgresql/*/bin has initdb, pg_ctl and postgres\n\
             install it (Debian: apt-get install postgresql), or set {URL} to a superuser's URL of a server"
        )
    })
}

fn start() -> Result<Server, String> {
    let programs = programs()?;
    let folder = tempfile::Builder::new()
        .prefix("opslink-pg-")
        .tempdir()
        .map_err(|error| error.to_string())?
        .keep();
    let root = nix::unistd::geteuid().is_root();
    if root {
        // PostgreSQL refuses to run as root.
        run(Command::new("chown").arg("postgres").arg(&folder))?;
    }
    let as_user = |program: &str| as_user(root, &programs.join(program), &folder);
    let data = folder.join("data");
    // Nothing here outlives the tests: no syncs.
    run(as_user("initdb")
        .args([
            "--no-sync",
            "-A",
            "trust",
            "-U",
            "opslink",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ])
        .arg(&data))?;
    let settings = format!(
        "-k {} -c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300",
        folder.display()
    );
    let log = folder.join("log");
    run(as_user("pg_ctl")
        .args(["-w", "-t", "60", "-D"])
        .arg(&data)
        .arg("-l")
        .arg(&log)
        .arg("-o")
        .arg(settings)
        .arg("start"))?;
    let guard = Command::new("sh")
        .args([
            "-c",
            "trap '' INT TERM HUP; read -r _; \"$@\" >/dev/null 2>&1; rm -rf \"$0\"",
        ])
        .arg(&folder)
        .args(command_line(&as_user("pg_ctl")))
        .args(["-m", "immediate", "-w", "-D"])
        .arg(&data)
        .arg("stop")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let host = folder.display().to_string().replace('/', "%2F");
    Ok(Server {
        url: ("postgres://opslink@localhost/".to_owned(), format!("?host={host}")),
        _guard: Some(guard),
    })
}

fn as_user(root: bool, program: &Path, folder: &Path) -> Command {
    let mut command = if root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    command
}

fn command_line(command: &Command) -> Vec<&OsStr> {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect()
}

fn run(command: &mut Command) -> Result<(), String> {
    // Output goes to nowhere rather than to a pipe: the server inherits it and would keep the pipe open.
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} did not start: {error}")),
    }
}

/// A database of its own for one test.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let server = SERVER.as_ref().unwrap_or_else(|why| panic!("{why}"));
        let name = format!("opslink_test_{}", uuid::Uuid::now_v7().simple());
        administer(server, &format!("CREATE DATABASE {name}")).await;
        let (place, options) = &server.url;
        Self {
            url: format!("{place}{name}{options}"),
            name,
        }
    }

    pub(crate) async fn remove(self) {
        let server = SERVER.as_ref().unwrap_or_else(|why| panic!("{why}"));
        administer(server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    pub(crate) async fn connect(&self) -> DatabaseConnection {
        sea_orm::Database::connect(&self.url)
            .await
            .expect("the test's own connection")
    }
}

/// Rows that nobody else may change until this is let go.
pub(crate) struct HeldRows {
    transaction: DatabaseTransaction,
    connection: DatabaseConnection,
}

impl HeldRows {
    /// Of those that a statement with `FOR UPDATE` finds.
    pub(crate) async fn by(database: &Database, sql: &str) -> Self {
        let connection = database.connect().await;
        let transaction = connection.begin().await.expect("a transaction");
        let held = transaction.execute_unprepared(sql).await;
        held.expect("a lock");
        Self {
            transaction,
            connection,
        }
    }

    /// Says how many sessions of this database wait for a lock.
    pub(crate) async fn waiting(&self) -> i64 {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        // In a session of its own: a transaction sees such rows once.
        let row = self
            .connection
            .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
            .await;
        let row = row.expect("an answer").expect("a row");
        row.try_get_by_index(0).expect("a number")
    }

    /// Lets go of them.
    pub(crate) async fn let_go(self) {
        self.transaction.commit().await.expect("an end");
        self.connection.close().await.expect("an end");
    }
}

async fn administer(server: &Server, sql: &str) {
    let (place, options) = &server.url;
    let admin = sea_orm::Database::connect(format!("{place}postgres{options}"))
        .await
        .expect("an admin connection");
    admin
        .execute_unprepared(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    admin.close().await.expect("an end");
}

async fn open_error(url: &str) -> sql::OpenError {
    match sql::SqlStore::open(url, sql::Options::default()).await {
        Ok(_) => panic!("{url} opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn two_replicas_that_start_together_share_one_schema() {
    let database = Database::create().await;
    let few = sql::Options {
        connections: 3,
        ..sql::Options::default()
    };
    let open = || sql::SqlStore::open(&database.url, few.clone());
    let (one, two) = tokio::join!(open(), open());
    let (one, two) = (one.expect("the first opens"), two.expect("the second opens"));
    one.setting_init("key", b"value").await.expect("a write");
    assert_eq!(
        two.setting_get("key").await.expect("a read").as_deref(),
        Some(&b"value"[..])
    );
    database.remove().await;
}

#[tokio::test]
async fn a_missing_database_is_named_as_such() {
    let Database { url, name } = Database::create().await;
    let error = open_error(&url.replace(&name, "no_such_database")).await;
    assert_eq!(error.reason(), "DATABASE_MISSING", "{error}");
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
    Database { url, name }.remove().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_answered_soon() {
    // Bound and never listening: nobody else gets the port, and nobody answers there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let error = open_error(&format!("postgres://me:secret@127.0.0.1:{port}/db")).await;
    assert_eq!(error.reason(), "DATABASE_UNAVAILABLE", "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

/// Two join tokens, which two writes revoke in opposite order.
struct Crossing {
    tokens: [TokenId; 2],
    /// Both hold their first row before either asks for its second.
    held: Arc<Barrier>,
    /// How often this write was run.
    runs: Arc<AtomicU32>,
}

fn cross<'a>(tx: &'a Tx, crossing: &'a Crossing) -> BoxFuture<'a, store::Result<()>> {
    Box::pin(async move {
        let [first, second] = &crossing.tokens;
        tx.join_token_revoke(first, &audit("first")).await?;
        if crossing.runs.fetch_add(1, Ordering::Relaxed) == 0 {
            crossing.held.wait().await;
        }
        tx.join_token_revoke(second, &audit("second")).await
    })
}

#[tokio::test]
async fn a_deadlock_is_run_again_and_both_writes_succeed() {
    let database = Database::create().await;
    // Only the server's search for circles can end this one: nobody's patience with a lock does.
    let separator = if database.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}options=-c%20lock_timeout%3D1min", database.url);
    let store = sql::SqlStore::open(&url, sql::Options::default()).await.expect("opens");
    let tokens = [join_token("one"), join_token("other")];
    for token in &tokens {
        let inserted = store.join_token_insert(token.clone(), audit("made")).await;
        inserted.expect("a join token");
    }
    let (one, other) = (tokens[0].id, tokens[1].id);
    let held = Arc::new(Barrier::new(2));
    let write = |tokens: [TokenId; 2]| {
        let runs = Arc::new(AtomicU32::new(0));
        let crossing = Crossing {
            tokens,
            held: held.clone(),
            runs: runs.clone(),
        };
        (runs, store.write(crossing, cross))
    };
    let ((runs, there), (runs_back, back)) = (write([one, other]), write([other, one]));
    let (there, back) = tokio::join!(there, back);
    there.expect("whoever was the victim, its write ends well");
    back.expect("whoever was the victim, its write ends well");
    let runs = [runs, runs_back].map(|runs| runs.load(Ordering::Relaxed));
    assert_eq!(runs.iter().sum::<u32>(), 3, "one of the two was run again: {runs:?}");
    for token in [one, other] {
        let now = store
            .join_token_get(token)
            .await
            .expect("a read")
            .expect("a join token");
        assert!(now.revoked, "{now:?}");
    }
    // What the victim had done before was undone: each write left its rows once.
    let rows = store.audit_list(None, 10).await.expect("audit rows");
    assert_eq!(rows.iter().filter(|row| row.action != "made").count(), 4, "{rows:?}");
    database.remove().await;
}

#[tokio::test]
async fn a_lost_server_is_unavailable_and_comes_back_by_itself() {
    let database = Database::create().await;
    let store = sql::SqlStore::open(&database.url, sql::Options::default())
        .await
        .expect("opens");
    store.setting_init("key", b"value").await.expect("a write");
    let server = SERVER.as_ref().unwrap_or_else(|why| panic!("{why}"));
    let name = &database.name;
    administer(server, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    let end_all = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    administer(server, &end_all).await;
    let read = store.setting_get("key").await;
    assert!(matches!(read, Err(crate::store::Error::Unavailable { .. })), "{read:?}");
    let write = store.setting_init("other", b"value").await;
    assert!(
        matches!(write, Err(crate::store::Error::Unavailable { .. })),
        "{write:?}"
    );
    administer(server, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    let back = async { while store.setting_init("other", b"value").await.is_err() {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), back)
        .await
        .expect("the store finds its server again");
    database.remove().await;
}
