//! What only SQLite promises: a folder with a lock, group commit, files that can be away or full.

use std::{path::Path, process::Command, time::Duration};

use super::*;

async fn open(folder: &Path) -> Result<Shared, sql::OpenError> {
    sql::SqlStore::open(&format!("sqlite://{}", folder.display()), sql::Options::default()).await
}

/// Opens a folder whose last store is just ending: its writers empty their queues before they let go of the lock.
async fn reopen(folder: &Path) -> Shared {
    let opened = async {
        loop {
            match open(folder).await {
                Err(sql::OpenError::Locked { .. }) => tokio::task::yield_now().await,
                other => return other.expect("the folder opens again"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), opened)
        .await
        .expect("the lock is released")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_reopen() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await.expect("opens");
    let (task, executions) = stored_task(&store, &["a"]).await;
    let now = applied(&store, dispatch(&executions[0])).await;
    store
        .chunk_append(vec![chunk(now.attempt_id.expect("an attempt"), 0, 10)])
        .await
        .expect("a chunk");
    drop(store);
    let store = reopen(folder.path()).await;
    assert_eq!(store.task_get(task.id).await.expect("a read"), Some(task.clone()));
    assert_eq!(
        store.execution_list(task.id, None, 10).await.expect("executions"),
        std::slice::from_ref(&now)
    );
    assert_eq!(
        store
            .chunk_next_seq(&[now.attempt_id.expect("an attempt")])
            .await
            .expect("positions"),
        [10]
    );
    let later = applied(&store, end(&now, ExecutionState::Failed)).await;
    assert!(later.revision > now.revision, "revisions go on where they were");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_hold_all_their_readers_keep_no_read_of_the_engine_waiting() {
    use sea_orm::TransactionTrait;
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await.expect("opens");
    let (task, executions) = stored_task(&store, &["a"]).await;
    let now = applied(&store, dispatch(&executions[0])).await;
    let attempt = now.attempt_id.expect("an attempt");
    let callers = store.for_callers();
    let crate::store::tx::Engine::Sql(sql) = callers.engine() else {
        panic!("it is no database");
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(sql.main.read().begin().await.expect("a reader"));
    }
    let fifth = tokio::time::timeout(Duration::from_millis(50), callers.task_get(task.id)).await;
    assert!(fifth.is_err(), "one more caller waits");
    let owner = tokio::time::timeout(Duration::from_secs(1), store.execution_by_attempts(&[attempt])).await;
    let owner = owner.expect("at once").expect("a read");
    assert_eq!(owner.get(&attempt), Some(&now));
    drop(held);
    let read = callers.task_get(task.id).await.expect("a read");
    assert_eq!(read, Some(task), "both see the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_store_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await.expect("opens");
    let error = open(folder.path()).await.expect_err("the second is refused");
    assert_eq!(error.reason(), "DATA_FOLDER_LOCKED");
    assert!(error.to_string().contains("DATA_FOLDER_LOCKED"), "{error}");
    drop(store);
    reopen(folder.path()).await;
}

/// Plays the process that is killed in the middle of its writes; see the next test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_of_the_kill_test() {
    let Some(folder) = std::env::var_os("OPSLINK_TEST_KILL_FOLDER") else {
        return;
    };
    use std::io::Write;
    let store = open(Path::new(&folder)).await.expect("opens");
    let writers = (0..16_u32).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0_u32.. {
                let key = format!("{writer}-{number}");
                store.setting_init(&key, b"value").await.expect("a write");
                // Said only after the store has answered.
                writeln!(std::io::stdout().lock(), "kept {key}").expect("the parent listens");
            }
        })
    });
    futures::future::join_all(writers.collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_that_was_answered() {
    use std::io::BufRead;
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "--nocapture",
            "store::conformance::sqlite::writer_of_the_kill_test",
        ])
        .env("OPSLINK_TEST_KILL_FOLDER", folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a second process");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("its output")).lines();
    let kept = |line: std::io::Result<String>| Some(line.ok()?.split_once("kept ")?.1.to_owned());
    let mut answered: Vec<String> = lines.by_ref().filter_map(kept).take(500).collect();
    assert_eq!(answered.len(), 500, "the second process ended by itself");
    child.kill().expect("a kill");
    child.wait().expect("its end");
    answered.extend(lines.filter_map(kept));
    let store = reopen(folder.path()).await;
    for key in answered {
        assert!(
            store.setting_get(&key).await.expect("a read").is_some(),
            "{key} was answered and is lost"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_does_not_hurt_its_neighbours() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await.expect("opens");
    let names: Vec<String> = (0..100).map(|number| format!("agent-{number:03}")).collect();
    let (task, executions) = stored_task(&store, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Queued together, so that they share transactions; every other one fails after its first statement.
    let race = executions.iter().enumerate().map(|(position, execution)| {
        let mut writes = vec![dispatch(execution)];
        if position % 2 == 0 {
            writes.push(dispatch(&queued(&task, "stranger")));
        }
        let store = store.clone();
        tokio::spawn(async move { store.execution_apply(writes, None).await })
    });
    let answers = futures::future::try_join_all(race).await.expect("no panic");
    for (position, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), position % 2 == 1, "{position}: {answer:?}");
    }
    let now = store.execution_list(task.id, None, 1_000).await.expect("executions");
    for (position, execution) in now.iter().enumerate() {
        let wanted = if position % 2 == 1 {
            ExecutionState::Dispatched
        } else {
            ExecutionState::Queued
        };
        assert_eq!(execution.state, wanted, "{position}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_goes_on_when_its_caller_goes_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await.expect("opens");
    for number in 0..50 {
        let key = format!("key-{number}");
        let mut write = Box::pin(store.setting_init(&key, b"value"));
        // Polled once: the write is queued, and its caller leaves.
        assert!(futures::poll!(&mut write).is_pending());
        drop(write);
    }
    store.setting_init("last", b"value").await.expect("a write behind them");
    for number in 0..50 {
        assert!(
            store
                .setting_get(&format!("key-{number}"))
                .await
                .expect("a read")
                .is_some(),
            "{number}"
        );
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, b"in the way").expect("a file");
    let error = open(&file.join("data")).await.expect_err("no folder there");
    assert_eq!(error.reason(), "DATA_FOLDER_UNUSABLE");
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("main.db"), vec![b'x'; 10_000]).expect("a file");
    let error = open(folder.path()).await.expect_err("not a database");
    assert_eq!(error.reason(), "DATABASE_CORRUPT", "{error}");
}
