//! Whom a task is for: as shown, and without those to leave out.

use opslink::{pb, reason::Reason};

use super::bench::{Bench, caller, on};

fn with(selector: pb::Selector, shown: &[&str]) -> pb::CreateTaskRequest {
    let agents = shown.iter().map(ToString::to_string).collect();
    pb::CreateTaskRequest {
        selector: Some(selector),
        expected_agents: Some(pb::ExpectedAgents { agents }),
        ..on(&[])
    }
}

fn prod() -> pb::Selector {
    pb::Selector {
        expression: "env=prod".into(),
        ..Default::default()
    }
}

async fn tasks(bench: &Bench) -> usize {
    let list = bench.engine.list(pb::ListTasksRequest::default()).await.unwrap();
    list.tasks.len()
}

#[tokio::test]
async fn a_task_runs_on_the_agents_that_were_shown_or_on_none() {
    let bench = Bench::new().await;
    let (a, _b) = (bench.joined("a").await, bench.joined("b").await);
    let changed = bench.create(with(prod(), &["a"])).await.unwrap_err();
    assert_eq!(changed.reason, Reason::TargetsChanged);
    assert_eq!(
        (changed.args["came"].as_str(), changed.args["gone"].as_str()),
        ("b", "–")
    );
    let gone = bench.create(with(prod(), &["a", "b", "c"])).await.unwrap_err();
    assert_eq!((gone.args["came"].as_str(), gone.args["gone"].as_str()), ("–", "c"));
    let nobody = bench.create(with(prod(), &[])).await.unwrap_err();
    assert_eq!(nobody.args["came"], "a, b");
    assert_eq!(tasks(&bench).await, 0);
    // By id or by name, in any order.
    let id = a.id.to_string();
    let created = bench.create(with(prod(), &["b", &id])).await.unwrap();
    assert_eq!(created.executions.len(), 2);
}

#[tokio::test]
async fn an_agent_that_lost_its_label_is_told_by_its_name() {
    let bench = Bench::new().await;
    let (_a, b) = (bench.joined("a").await, bench.joined("b").await);
    let mut other = bench.directory.find("b").unwrap().agent.as_ref().clone();
    other.labels.clear();
    bench.directory.upsert(other);
    let id = b.id.to_string();
    let changed = bench.create(with(prod(), &["a", &id])).await.unwrap_err();
    assert_eq!(
        (changed.args["came"].as_str(), changed.args["gone"].as_str()),
        ("–", "b")
    );
}

#[tokio::test]
async fn a_mistyped_name_to_leave_out_refuses_the_task() {
    let bench = Bench::new().await;
    let (_web, _db) = (bench.joined("web-1").await, bench.joined("db-1").await);
    let without = |name: &str| {
        let selector = pb::Selector {
            all: true,
            exclude: vec![name.into()],
            ..Default::default()
        };
        pb::CreateTaskRequest {
            selector: Some(selector),
            ..on(&[])
        }
    };
    let typo = bench.create(without("bd-1")).await.unwrap_err();
    assert_eq!(typo.reason, Reason::ExcludedAgentNotFound);
    assert_eq!(
        (typo.args["agent"].as_str(), typo.args["similar"].as_str()),
        ("bd-1", "db-1")
    );
    let far = bench.create(without("nothing-like-it")).await.unwrap_err();
    assert_eq!(far.args["similar"], "none");
    assert_eq!(tasks(&bench).await, 0);
    // A glob is a wish about whoever is there.
    assert_eq!(bench.create(without("canary-*")).await.unwrap().executions.len(), 2);
    assert_eq!(bench.create(without("db-1")).await.unwrap().executions.len(), 1);
}

#[tokio::test]
async fn what_succeeded_is_retried_only_when_that_is_said() {
    use opslink::task::ExecutionState as S;
    let bench = Bench::new().await;
    let (mut a, mut b) = (bench.joined("a").await, bench.joined("b").await);
    let id = bench.create_on(&["a", "b"]).await.task.unwrap().id;
    let (first, good) = (a.task().await, b.task().await);
    a.finish(first, &[], S::Failed).await;
    b.finish(good, &[], S::Succeeded).await;
    bench
        .until(&id, &[pb::ExecutionState::Failed, pb::ExecutionState::Succeeded])
        .await;
    let both = pb::RetryTaskRequest {
        id: id.clone(),
        agents: vec!["a".into(), "b".into()],
        ..Default::default()
    };
    let answer = bench.engine.retry(&caller(), both.clone()).await.unwrap();
    let names: Vec<_> = answer
        .executions
        .iter()
        .map(|execution| execution.agent_name.as_str())
        .collect();
    assert_eq!(names, ["a"]);
    let second = a.task().await;
    a.finish(second, &[], S::Succeeded).await;
    bench
        .until(&id, &[pb::ExecutionState::Succeeded, pb::ExecutionState::Succeeded])
        .await;
    let again = pb::RetryTaskRequest {
        include_succeeded: true,
        ..both
    };
    assert_eq!(bench.engine.retry(&caller(), again).await.unwrap().executions.len(), 2);
}
