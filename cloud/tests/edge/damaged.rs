//! One damaged row, or one that a newer version wrote, hides nothing else: the cloud starts, and everybody sees the rest.

use std::{path::Path, time::Duration};

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    pb,
    task::{ExecutionState, Outcome},
    time::UnixMicros,
};
use opslink_cloud::store::{
    Store,
    record::{Execution, Role, Task},
    sql::{Options, SqlStore},
};
use pb::{
    agent_service_client::AgentServiceClient, task_service_client::TaskServiceClient, watch_task_response::Event,
};
use prost::Message;
use sea_orm::ConnectionTrait;
use tokio::time::timeout;

use crate::{
    harness::{Edge, LIMIT, audit, with_bearer},
    unread::link,
};

async fn open(folder: &Path) -> Store {
    let url = format!("sqlite://{}", folder.display());
    SqlStore::open(&url, Options::default()).await.unwrap()
}

/// Changes one row past the store.
async fn damage(folder: &Path, sql: &str) {
    let url = format!("sqlite://{}", folder.join("main.db").display());
    let connection = sea_orm::Database::connect(url).await.unwrap();
    let done = connection.execute_unprepared(sql).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{sql}");
    connection.close().await.unwrap();
}

/// A task that has ended well on these agents.
async fn ended(store: &Store, names: &[&str]) -> TaskId {
    let spec = pb::TaskSpec {
        action: Some(pb::task_spec::Action::Shell(pb::ShellSpec::default())),
        ..Default::default()
    };
    let task = Task {
        id: TaskId::new(),
        spec: spec.encode_to_vec().into(),
        selector: pb::Selector::default().encode_to_vec().into(),
        max_parallel: 0,
        max_failures: 0,
        queue_ttl_secs: None,
        created_by: "ann".to_owned(),
        created_at: UnixMicros(1),
        request_id: None,
        request_hash: Vec::new(),
        reason: String::new(),
        cancel_requested: false,
    };
    let outcome = Outcome {
        state: ExecutionState::Succeeded,
        exit_code: Some(0),
        signal: None,
        reason: String::new(),
        message: String::new(),
        streams: Vec::new(),
        started_time_us: 1,
        finished_time_us: 2,
        events: None,
    };
    let id = task.id;
    let executions = names.iter().map(|name| Execution {
        task_id: id,
        agent_id: AgentId::new(),
        agent_name: (*name).to_owned(),
        state: ExecutionState::Succeeded,
        attempt_id: Some(AttemptId::new()),
        attempt_number: 1,
        queue_deadline: None,
        cancel_requested: false,
        started_at: Some(UnixMicros(1)),
        finished_at: Some(UnixMicros(2)),
        outcome: Some(outcome.clone()),
        output_verified: true,
        revision: 0,
    });
    store.task_create(task, executions.collect(), audit()).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_starts_beside_a_damaged_agent_and_the_others_come() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let former = Edge::over(store.clone()).await;
    let _damaged = former.join("a").await;
    let healthy = former.join("b").await;
    drop(former);
    damage(folder.path(), "UPDATE agent SET labels = 'x' WHERE name = 'a'").await;

    let edge = Edge::over(store).await;
    let _link = link(&edge, &healthy).await;
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(60)).await;
    let mut agents = AgentServiceClient::new(edge.plain().await);
    let request = with_bearer(pb::ListAgentsRequest::default(), &viewer);
    let listed = agents.list_agents(request).await.unwrap().into_inner().agents;
    let names: Vec<_> = listed.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_and_watched_beside_a_damaged_execution_that_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let edge = Edge::over(store.clone()).await;
    let other = ended(&store, &["c"]).await;
    let task = ended(&store, &["a", "b"]).await;
    damage(
        folder.path(),
        "UPDATE execution SET outcome = X'ff' WHERE agent_name = 'a'",
    )
    .await;
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(60)).await;
    let mut client = TaskServiceClient::new(edge.plain().await);

    let request = with_bearer(pb::ListTasksRequest::default(), &viewer);
    let listed = client.list_tasks(request).await.unwrap().into_inner().tasks;
    let ids: Vec<_> = listed.iter().map(|task| task.id.clone()).collect();
    assert_eq!(ids, [task.to_string(), other.to_string()]);

    let request = pb::ListExecutionsRequest {
        task_id: task.to_string(),
        ..Default::default()
    };
    let listed = client.list_executions(with_bearer(request, &viewer)).await.unwrap();
    let listed = listed.into_inner().executions;
    let names: Vec<_> = listed.iter().map(|execution| execution.agent_name.as_str()).collect();
    assert_eq!(names, ["b"]);

    let request = pb::WatchTaskRequest {
        task_id: task.to_string(),
        ..Default::default()
    };
    let watch = client.watch_task(with_bearer(request, &viewer)).await.unwrap();
    let (mut watch, mut names, mut counted) = (watch.into_inner(), Vec::new(), 0);
    while let Some(message) = timeout(LIMIT, watch.message()).await.expect("in time").unwrap() {
        match message.event {
            Some(Event::Execution(execution)) => names.push(execution.agent_name),
            Some(Event::Task(task)) => counted = task.counts.iter().map(|counts| counts.count).sum::<u32>(),
            _ => {}
        }
    }
    names.dedup();
    assert_eq!(names, ["b"]);
    assert_eq!(counted, 2, "what cannot be read is counted all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_task_ends_no_page_before_what_is_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let edge = Edge::over(store.clone()).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(ended(&store, &["a"]).await);
    }
    tasks.reverse();
    for place in [0, 2] {
        let id = tasks[place].uuid().simple();
        damage(
            folder.path(),
            &format!("UPDATE task SET max_parallel = -1 WHERE id = X'{id}'"),
        )
        .await;
    }
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(60)).await;
    let mut client = TaskServiceClient::new(edge.plain().await);
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    for _ in 0..tasks.len() {
        let request = pb::ListTasksRequest {
            page_size: 1,
            page_token,
            ..Default::default()
        };
        let page = client.list_tasks(with_bearer(request, &viewer)).await.unwrap();
        let page = page.into_inner();
        listed.extend(page.tasks.into_iter().map(|task| task.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, [tasks[1].to_string(), tasks[3].to_string()]);
}
