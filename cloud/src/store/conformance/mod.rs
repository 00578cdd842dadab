//! One suite for every engine: what a [`Store`] promises, by the behaviour that a caller sees.
//!
//! A case is an async function of a fresh store, in the `conformance` of its resource; `suite!` runs each on memory, SQLite and PostgreSQL.
//! What only one engine promises (locks, files, races of servers) is beside its engine, in `sqlite` and `postgres`.

use std::future::Future;

pub(super) use bytes::Bytes;
pub(super) use opslink::{
    event::Stream,
    id::{AgentId, AttemptId, TaskId, TokenId, UserId},
    task::{ExecutionState, Outcome, StreamDigest},
    time::UnixMicros,
};

pub(super) use super::record::*;
use super::{
    Store, agent::conformance as agent, audit::conformance as audit_log, execution::conformance as execution,
    join_token::conformance as join_tokens, login_limit::conformance as login_limit, memory::MemoryStore,
    output::conformance as output, presence::conformance as presence, quarantine::conformance as quarantine,
    session::conformance as session, setting::conformance as setting, sql, task::conformance as task,
    token::conformance as token, user::conformance as user_account, work::conformance as work,
};

mod carried_forward;
mod damaged;
mod database_lock;
mod memory;
pub(crate) mod postgres;
mod postgres_commit;
mod postgres_limits;
mod postgres_rows;
mod sqlite;

pub(super) type Shared = Store;

async fn on_memory<F: Future<Output = ()>>(case: impl FnOnce(Shared) -> F) {
    case(Store::from(MemoryStore::new())).await;
}

async fn on_sqlite<F: Future<Output = ()>>(case: impl FnOnce(Shared) -> F) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().display());
    let store = sql::SqlStore::open(&url, sql::Options::default())
        .await
        .expect("a new data folder opens");
    case(store).await;
}

async fn on_postgres<F: Future<Output = ()>>(case: impl FnOnce(Shared) -> F) {
    let database = postgres::Database::create().await;
    let store = sql::SqlStore::open(&database.url, sql::Options::default())
        .await
        .expect("a new database opens");
    case(store).await;
    database.remove().await;
}

macro_rules! suite {
    ($($module:ident: $($case:ident)*;)*) => {
        suite!(@engine memory_engine on_memory; $($module: $($case)*;)*);
        suite!(@engine sqlite_engine on_sqlite; $($module: $($case)*;)*);
        suite!(@engine postgres_engine on_postgres; $($module: $($case)*;)*);
    };
    (@engine $engine:ident $run:ident; $($module:ident: $($case:ident)*;)*) => {
        mod $engine {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::super::$run(super::super::$module::$case).await;
                })*
            })*
        }
    };
}

suite! {
    setting:
        a_setting_keeps_its_first_value
        of_racing_settings_one_value_is_kept;
    user_account:
        a_user_name_is_unique;
    session:
        a_session_begins_with_the_password_of_the_moment_only
        of_a_login_that_races_a_new_password_no_session_is_left
        a_new_password_ends_every_session_but_the_kept_one
        a_session_is_found_with_its_user_until_it_is_removed;
    token:
        a_token_name_is_unique_among_the_living
        a_token_is_revoked_and_touched;
    audit_log:
        a_failed_change_leaves_no_audit_row
        audit_rows_come_newest_first_in_pages
        a_long_detail_cannot_make_the_list_unreadable
        names_of_somebody_elses_choosing_are_cut;
    join_tokens:
        a_request_makes_one_join_token
        of_racing_requests_one_makes_a_join_token;
    agent:
        a_join_consumes_the_token_and_stores_the_agent
        a_token_that_cannot_be_used_says_why
        a_taken_name_leaves_the_token_unconsumed
        of_a_hundred_racing_joins_one_wins
        of_racing_joins_for_one_name_one_wins
        a_removed_agent_frees_its_name
        every_link_raises_the_session_epoch
        labels_are_replaced_as_a_whole;
    task:
        a_task_comes_back_as_it_was_stored
        a_repeated_request_is_replayed_and_a_different_one_refused
        of_racing_requests_one_task_is_made
        ten_thousand_executions_are_created_and_paged_in_name_order
        a_prefix_finds_one_task_or_shows_that_it_is_ambiguous
        tasks_are_listed_newest_first_and_filtered
        a_cancel_marks_what_is_open_and_raises_its_revision
        a_cancel_of_some_agents_leaves_the_others;
    execution:
        a_change_is_made_only_while_its_before_holds
        of_racing_changes_with_the_same_before_one_wins
        many_changes_in_one_call_answer_in_order
        two_changes_of_one_execution_in_one_call_build_on_each_other
        an_unknown_execution_undoes_the_whole_call
        a_wish_to_cancel_survives_a_change_that_did_not_know_it
        a_retry_adds_an_attempt_and_keeps_the_old_one
        heads_of_attempts_are_those_of_the_agents_that_are_asked_for
        the_last_end_comes_with_the_counts
        changes_come_in_revision_order_from_any_point
        a_watcher_never_misses_a_lower_revision
        open_and_expired_executions_are_found;
    output:
        output_that_comes_with_an_end_is_stored_with_it_or_not_at_all
        chunks_are_stored_only_when_they_continue_their_attempt
        a_batch_may_hold_many_chunks_of_many_attempts
        of_racing_chunks_for_one_place_one_is_stored
        reading_starts_at_the_chunk_that_holds_the_event
        reading_starts_where_the_line_begins
        reading_stops_at_its_byte_limit_but_always_moves
        an_index_has_no_payload;
    presence:
        signs_of_life_never_go_back
        a_lease_belongs_to_the_replica_that_holds_the_link;
    quarantine:
        an_agent_is_kept_out_until_its_time_has_passed;
    login_limit:
        tries_are_counted_within_their_window
        of_racing_tries_none_is_lost;
    work:
        work_is_claimed_when_due_by_one_and_again_when_its_lease_ends
        of_racing_claims_each_work_goes_to_one
        what_is_added_again_meanwhile_is_done_again
        tries_are_counted_from_the_last_time_that_it_went_well
        a_claim_that_is_kept_holds_longer
        what_the_dead_claimed_is_due_at_once
        parked_work_is_set_aside_by_itself_until_it_is_added_again
        work_is_added_with_its_cause_or_not_at_all
        a_failure_that_is_passed_over_undoes_the_transaction_all_the_same;
}

// What the cases are made of. Times are fixed, so that a failure reads the same twice.

pub(super) const NOW: UnixMicros = UnixMicros(1_800_000_000_000_000);

pub(super) fn later(seconds: i64) -> UnixMicros {
    UnixMicros(NOW.0 + seconds * 1_000_000)
}

pub(super) fn audit(action: &'static str) -> Audit {
    Audit {
        time: NOW,
        actor: "ann".to_owned(),
        actor_role: Some(Role::Operator),
        action,
        resource: "thing/1".to_owned(),
        detail: "détail".to_owned(),
        peer: "127.0.0.1:4711".to_owned(),
    }
}

pub(super) async fn audited(store: &Shared, action: &str) -> usize {
    let rows = store.audit_list(None, 1_000).await.expect("audit rows");
    rows.iter().filter(|row| row.action == action).count()
}

pub(super) fn user(name: &str) -> User {
    User {
        id: UserId::new(),
        name: name.to_owned(),
        password_hash: "$argon2id$…".to_owned(),
        role: Role::Admin,
        must_change_password: true,
    }
}

pub(super) fn join_token(agent_name: &str) -> JoinToken {
    JoinToken {
        id: TokenId::new(),
        secret_hash: vec![7; 32],
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        agent_name: agent_name.to_owned(),
        created_by: "ann".to_owned(),
        created_at: NOW,
        expires_at: later(3_600),
        used: None,
        revoked: false,
        request_id: None,
    }
}

pub(super) fn new_agent(name: &str) -> NewAgent {
    NewAgent {
        id: AgentId::new(),
        proposed_name: name.to_owned(),
        enrolled_at: later(1),
    }
}

pub(super) fn new_task() -> Task {
    Task {
        id: TaskId::new(),
        spec: Bytes::from_static(b"\0spec\xff"),
        selector: Bytes::from_static(b"selector"),
        max_parallel: 10,
        max_failures: 2,
        queue_ttl_secs: Some(3_600),
        created_by: "ann".to_owned(),
        created_at: NOW,
        request_id: None,
        request_hash: vec![1, 2, 3],
        reason: "because".to_owned(),
        cancel_requested: false,
    }
}

pub(super) fn queued(task: &Task, name: &str) -> Execution {
    Execution {
        task_id: task.id,
        agent_id: AgentId::new(),
        agent_name: name.to_owned(),
        state: ExecutionState::Queued,
        attempt_id: None,
        attempt_number: 0,
        queue_deadline: Some(later(60)),
        cancel_requested: false,
        started_at: None,
        finished_at: None,
        outcome: None,
        output_verified: false,
        revision: 0,
    }
}

/// Stores a task with one queued execution per name.
pub(super) async fn stored_task(store: &Shared, names: &[&str]) -> (Task, Vec<Execution>) {
    let task = new_task();
    let executions: Vec<_> = names.iter().map(|name| queued(&task, name)).collect();
    let created = store
        .task_create(task.clone(), executions, audit("task.create"))
        .await
        .expect("a task is stored");
    assert_eq!(created, TaskCreated::New);
    let executions = store
        .execution_list(task.id, None, 10_000)
        .await
        .expect("its executions");
    (task, executions)
}

/// The change that hands an execution to its agent.
pub(super) fn dispatch(execution: &Execution) -> ExecutionWrite {
    let after = Execution {
        state: ExecutionState::Dispatched,
        attempt_id: Some(AttemptId::new()),
        attempt_number: execution.attempt_number + 1,
        ..execution.clone()
    };
    ExecutionWrite {
        before: (execution.state, execution.attempt_id),
        after,
        output: None,
    }
}

/// The change that ends an execution.
pub(super) fn end(execution: &Execution, state: ExecutionState) -> ExecutionWrite {
    let outcome = Outcome {
        state,
        exit_code: Some(3),
        signal: None,
        reason: "EXIT_CODE".to_owned(),
        message: "the command ended with 3".to_owned(),
        streams: vec![StreamDigest {
            stream: Stream::Stderr,
            bytes: 5,
            blake3: Bytes::from(vec![9; 32]),
        }],
        started_time_us: NOW.0,
        finished_time_us: later(2).0,
        events: None,
    };
    let after = Execution {
        state,
        started_at: Some(NOW),
        finished_at: Some(later(2)),
        outcome: Some(outcome),
        output_verified: true,
        ..execution.clone()
    };
    ExecutionWrite {
        before: (execution.state, execution.attempt_id),
        after,
        output: None,
    }
}

/// Makes one change that must succeed and returns what is now there.
pub(super) async fn applied(store: &Shared, write: ExecutionWrite) -> Execution {
    let mut answers = store.execution_apply(vec![write], None).await.expect("a change");
    let (applied, now) = answers.pop().expect("one answer");
    assert!(applied, "{now:?}");
    now
}

/// A chunk of ten events and ten lines (unless changed) whose payload is `size` bytes.
pub(super) fn chunk(attempt_id: AttemptId, first_seq: u64, size: usize) -> Chunk {
    Chunk {
        attempt_id,
        first_seq,
        event_count: 10,
        first_line: first_seq,
        line_count: 10,
        raw_size: 1_000,
        first_time: NOW,
        last_time: later(1),
        codec: 1,
        payload: Bytes::from(vec![u8::try_from(first_seq % 251).unwrap_or(0); size]),
        outcome: None,
    }
}
