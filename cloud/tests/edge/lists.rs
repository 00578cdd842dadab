//! Lists that everybody reads stay small enough to be read, whatever somebody has put into them, and no more of them is read
//! than is shown.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use opslink::{
    id::{AgentId, TaskId},
    pb,
    time::UnixMicros,
};
use opslink_cloud::store::{
    Result, Store,
    memory::{Faults, MemoryStore, Point},
    record::{Role, Task},
};
use pb::{
    agent_service_client::AgentServiceClient, task_service_client::TaskServiceClient,
    token_service_client::TokenServiceClient,
};
use prost::Message;

use crate::harness::{Edge, audit, reason, with_bearer};

const TASKS: usize = 60;
/// The largest script.
const SCRIPT_BYTES: usize = 512 << 10;
/// What an answer may have.
const ANSWER_BYTES: usize = 8 << 20;

/// A task with a large script; its id.
async fn store_task(edge: &Edge) -> TaskId {
    let shell = pb::ShellSpec {
        script: vec![b'x'; SCRIPT_BYTES].into(),
        ..Default::default()
    };
    let spec = pb::TaskSpec {
        action: Some(pb::task_spec::Action::Shell(shell)),
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
        created_at: UnixMicros::now(),
        request_id: None,
        request_hash: Vec::new(),
        reason: String::new(),
        cancel_requested: false,
    };
    let id = task.id;
    edge.cloud.store.task_create(task, Vec::new(), audit()).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_with_large_scripts_are_listed_in_pages_that_can_be_read() {
    let edge = Edge::memory().await;
    let mut stored = Vec::new();
    for _ in 0..TASKS {
        stored.push(store_task(&edge).await.to_string());
    }
    stored.reverse();
    let (_, viewer) = edge.token(Role::Viewer, Duration::from_secs(60)).await;
    let mut client = TaskServiceClient::new(edge.plain().await).max_decoding_message_size(4 * ANSWER_BYTES);
    let (mut listed, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = pb::ListTasksRequest {
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let page = client.list_tasks(with_bearer(request, &viewer)).await.unwrap();
        let page = page.into_inner();
        assert!(page.encoded_len() <= ANSWER_BYTES, "{} bytes", page.encoded_len());
        assert!(!page.tasks.is_empty(), "a page moves on");
        listed.extend(page.tasks.into_iter().map(|task| task.id));
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(pages > 1, "all of them fit one page: nothing was tried");
    assert_eq!(listed, stored, "newest first, each once");
}

const HOUR: Duration = Duration::from_secs(3_600);

/// The most rows that each kind of read has answered.
#[derive(Default)]
struct Rows(Mutex<BTreeMap<&'static str, usize>>);

#[async_trait]
impl Faults for Rows {
    async fn at(&self, _: Point) -> Result<()> {
        Ok(())
    }

    fn answered(&self, read: &'static str, rows: usize) {
        let mut all = self.0.lock().unwrap();
        let most = all.entry(read).or_default();
        *most = rows.max(*most);
    }
}

impl Rows {
    /// Absent when nobody has read so.
    fn most(&self, read: &str) -> Option<usize> {
        self.0.lock().unwrap().get(read).copied()
    }
}

async fn counted() -> (Edge, Arc<Rows>) {
    let rows = Arc::new(Rows::default());
    let edge = Edge::over(Store::from(MemoryStore::with_faults(rows.clone()))).await;
    (edge, rows)
}

/// What a list of pages has in all, and how many pages it has.
async fn all_pages(mut page: impl AsyncFnMut(String) -> (Vec<String>, String)) -> (Vec<String>, usize) {
    let (mut all, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let (ids, next) = page(page_token).await;
        all.extend(ids);
        pages += 1;
        assert!(pages <= 10, "it has no end: {all:?}");
        if next.is_empty() {
            return (all, pages);
        }
        page_token = next;
    }
}

fn newest_first(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids.reverse();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn api_tokens_are_read_a_page_at_a_time() {
    let (edge, rows) = counted().await;
    let (own, admin) = edge.token(Role::Admin, HOUR).await;
    let mut made = vec![own.to_string()];
    for _ in 0..5 {
        made.push(edge.token(Role::Viewer, HOUR).await.0.to_string());
    }
    let mut tokens = TokenServiceClient::new(edge.plain().await);
    let (listed, pages) = all_pages(async |page_token| {
        let request = pb::ListTokensRequest {
            page_size: 2,
            page_token,
        };
        let page = tokens
            .list_tokens(with_bearer(request, &admin))
            .await
            .unwrap()
            .into_inner();
        let ids = page.tokens.into_iter().map(|token| token.id).collect();
        (ids, page.next_page_token)
    })
    .await;
    assert_eq!((listed, pages), (newest_first(made), 3));
    // One more than there is room for tells whether there is another page.
    assert_eq!(rows.most("token_list"), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn join_tokens_are_read_a_page_at_a_time() {
    let (edge, rows) = counted().await;
    let (_, admin) = edge.token(Role::Admin, HOUR).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(edge.join_token(pb::CreateJoinTokenRequest::default()).await.0);
    }
    let mut agents = AgentServiceClient::new(edge.plain().await);
    let (listed, pages) = all_pages(async |page_token| {
        let request = pb::ListJoinTokensRequest {
            page_size: 2,
            page_token,
        };
        let page = agents
            .list_join_tokens(with_bearer(request, &admin))
            .await
            .unwrap()
            .into_inner();
        let ids = page.join_tokens.into_iter().map(|token| token.id).collect();
        (ids, page.next_page_token)
    })
    .await;
    assert_eq!((listed, pages), (newest_first(made), 3));
    assert_eq!(rows.most("join_token_list"), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_has_costs_no_list_of_agents() {
    let (edge, rows) = counted().await;
    for name in ["a", "b", "c"] {
        edge.join(name).await;
    }
    let (_, admin) = edge.token(Role::Admin, HOUR).await;
    let mut agents = AgentServiceClient::new(edge.plain().await);
    // Once, when the cloud began.
    rows.0.lock().unwrap().clear();
    for agent in ["d".to_owned(), AgentId::new().to_string()] {
        let request = pb::RemoveAgentRequest { agent };
        let refused = agents.remove_agent(with_bearer(request, &admin)).await.unwrap_err();
        assert_eq!(reason(&refused), "AGENT_NOT_FOUND");
    }
    assert_eq!(rows.most("agent_by_name"), Some(0), "the store is asked, too");
    assert_eq!(rows.most("agent_list"), None);
}
