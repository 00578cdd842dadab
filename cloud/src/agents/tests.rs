//! The directory by itself, and what goes on beside a long matching.

use futures::FutureExt;
use tokio::{task::JoinHandle, time::timeout};

use super::*;

/// Longest wait: only reached by a failing test.
const LIMIT: Duration = Duration::from_secs(10);

fn agent(name: &str) -> Agent {
    Agent {
        id: AgentId::new(),
        name: name.into(),
        labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
        facts: bytes::Bytes::new(),
        connections: Vec::new(),
        enrolled_at: UnixMicros(1),
        last_seen_at: None,
        session_epoch: 0,
        removed: false,
    }
}

#[test]
fn agents_are_found_by_id_and_by_name_and_listed_by_name() {
    let directory = Directory::default();
    let (b, a) = (agent("b"), agent("a"));
    directory.upsert(b.clone());
    directory.upsert(a.clone());
    assert_eq!(directory.find("b").unwrap().agent.id, b.id);
    assert_eq!(directory.find(&a.id.to_string()).unwrap().agent.name, "a");
    assert!(directory.find("c").is_none());
    let names: Vec<_> = directory.list().iter().map(|view| view.agent.name.clone()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_new_name_replaces_the_old_one_and_keeps_online() {
    let directory = Directory::default();
    let mut one = agent("old");
    directory.upsert(one.clone());
    directory.set_online(one.id, true);
    one.name = "new".into();
    directory.upsert(one.clone());
    assert!(directory.find("old").is_none());
    assert!(directory.find("new").unwrap().online);
    assert_eq!(directory.counts(), (1, 1));
}

#[test]
fn a_removed_agent_stays_removed_whatever_is_said_of_it_later() {
    let directory = Directory::default();
    let one = agent("a");
    directory.upsert(one.clone());
    assert!(directory.change(one.id, |agent| agent.session_epoch = 7));
    assert_eq!(directory.get(one.id).unwrap().agent.session_epoch, 7);
    directory.remove(one.id);
    assert!(!directory.change(one.id, |agent| agent.session_epoch = 8));
    directory.set_online(one.id, true);
    assert!(directory.get(one.id).is_none() && directory.find("a").is_none());
}

#[test]
fn an_agent_is_seen_when_its_link_begins_and_when_it_ends() {
    let directory = Directory::default();
    let one = agent("a");
    let id = one.id;
    directory.upsert(one);
    let seen = || directory.get(id).unwrap().last_seen_at;
    UnixMicros::fix_clock(Some(UnixMicros(100)));
    directory.set_online(id, true);
    assert_eq!(seen(), Some(UnixMicros(100)));
    directory.set_seen(id, UnixMicros(120));
    UnixMicros::fix_clock(Some(UnixMicros(200)));
    directory.set_online(id, true);
    assert_eq!(seen(), Some(UnixMicros(120)), "nothing has happened");
    directory.set_online(id, false);
    assert_eq!(seen(), Some(UnixMicros(200)), "however long it had been silent");
    UnixMicros::fix_clock(None);
}

#[test]
fn changes_are_told_once_each() {
    let directory = Directory::default();
    let mut changes = directory.subscribe();
    let one = agent("a");
    directory.upsert(one.clone());
    directory.set_online(one.id, true);
    directory.set_online(one.id, true);
    directory.remove(one.id);
    directory.remove(one.id);
    for _ in ["it is new", "it is here", "it is gone"] {
        assert_eq!(changes.try_recv().unwrap(), one.id);
    }
    assert!(changes.try_recv().is_err());
}

#[test]
fn what_an_agent_has_said_before_is_no_change() {
    let directory = Directory::default();
    let one = agent("a");
    directory.upsert(one.clone());
    let mut changes = directory.subscribe();
    let says = |facts: &'static [u8], epoch| {
        directory.change(one.id, |agent| {
            agent.facts = bytes::Bytes::from_static(facts);
            agent.connections = vec![("main".to_owned(), "postgres".to_owned(), true)];
            agent.session_epoch = epoch;
            agent.last_seen_at = Some(UnixMicros(9));
        });
    };
    for epoch in 1..=6 {
        says(b"one", epoch);
    }
    assert_eq!(changes.try_recv().unwrap(), one.id);
    assert!(changes.try_recv().is_err(), "it has said the same six times");
    let now = directory.get(one.id).unwrap();
    assert_eq!((now.agent.session_epoch, now.last_seen_at), (6, Some(UnixMicros(9))));
    says(b"two", 6);
    assert_eq!(changes.try_recv().unwrap(), one.id);
}

#[test]
fn a_subscriber_that_reads_nothing_keeps_no_agent_in_memory() {
    let directory = Directory::default();
    let one = agent("a");
    directory.upsert(one.clone());
    let changes = directory.subscribe();
    let mut former = Vec::new();
    for number in 0..1_000_u32 {
        former.push(Arc::downgrade(&directory.get(one.id).unwrap().agent));
        directory.change(one.id, |agent| agent.facts = number.to_be_bytes().to_vec().into());
    }
    assert_eq!(changes.len(), 1_000, "all of them wait");
    let kept = former.iter().filter(|agent| agent.strong_count() > 0).count();
    assert_eq!(kept, 0, "what the agent was is kept");
}

#[tokio::test]
async fn while_agents_are_matched_signs_of_life_and_changes_of_labels_pass() {
    let directory = Directory::default();
    let one = agent("a");
    let id = one.id;
    directory.upsert(one);
    // At once, and as what is done on another thread.
    for (cost, before, after) in [(1, "prod", "test"), (TRIES_INLINE + 1, "test", "stage")] {
        let beside = directory.clone();
        let is_meant = move |view: &AgentView| {
            // First: were it held, whatever follows would wait for ever.
            assert!(
                beside.0.state.try_write().is_ok(),
                "the lock is held while a selector is asked"
            );
            beside.set_seen(id, UnixMicros(7));
            beside.change(id, |agent| {
                agent.labels.insert("env".to_owned(), after.to_owned());
            });
            view.agent.labels.get("env").is_some_and(|env| env == before)
        };
        let found = directory.matching("ann", cost, is_meant).await;
        assert_eq!(found.len(), 1, "asked about what was there when it began");
        let now = directory.get(id).unwrap();
        assert_eq!(now.agent.labels.get("env").map(String::as_str), Some(after));
        assert_eq!(now.last_seen_at, Some(UnixMicros(7)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_long_matching_holds_no_thread_of_the_runtime() {
    let directory = Directory::default();
    let one = agent("a");
    let id = one.id;
    directory.upsert(one);
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let is_meant = move |_: &AgentView| {
        begun.try_send(()).unwrap();
        // Ends with the test too, however that ends.
        may_go_on.recv().is_ok()
    };
    let matched = directory.clone();
    let matching = tokio::spawn(async move { matched.matching("ann", TRIES_INLINE + 1, is_meant).await });
    timeout(LIMIT, has_begun.recv()).await.expect("it begins").unwrap();
    // The runtime has one thread, and this needs it.
    let beside = directory.clone();
    let change = tokio::spawn(async move {
        beside.set_online(id, true);
        beside.change(id, |agent| agent.labels.clear())
    });
    let changed = timeout(LIMIT, change).await.expect("a thread is free").unwrap();
    assert!(changed && directory.get(id).unwrap().online);
    assert!(!matching.is_finished());
    go_on.send(()).unwrap();
    assert_eq!(matching.await.unwrap().len(), 1);
}

/// A matching of this actor that ends when it is told to; returns once it has begun.
async fn long(directory: &Directory, actor: &'static str) -> (std::sync::mpsc::Sender<()>, JoinHandle<usize>) {
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let is_meant = move |_: &AgentView| {
        begun.try_send(()).unwrap();
        // Ends with the test too, however that ends.
        may_go_on.recv().is_ok()
    };
    let directory = directory.clone();
    let matching = async move { directory.matching(actor, TRIES_INLINE + 1, is_meant).await.len() };
    let matching = tokio::spawn(matching);
    timeout(LIMIT, has_begun.recv()).await.expect("it begins").unwrap();
    (go_on, matching)
}

/// One turn for everybody: whoever asked for one long matching after the other had it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_much_matched_stands_behind_itself_and_delays_nobody_else() {
    let directory = Directory::default();
    directory.upsert(agent("a"));
    let (go_on, matching) = long(&directory, "greedy").await;
    let mut next = Box::pin(directory.matching("greedy", TRIES_INLINE + 1, |_| true));
    assert!(next.as_mut().now_or_never().is_none(), "it is at work already");
    let other = directory.matching("honest", TRIES_INLINE + 1, |_| true);
    assert_eq!(timeout(LIMIT, other).await.expect("its own turn").len(), 1);
    assert!(next.as_mut().now_or_never().is_none());
    go_on.send(()).unwrap();
    assert_eq!(matching.await.unwrap(), 1);
    assert_eq!(timeout(LIMIT, next).await.expect("its next turn").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_has_its_turn_until_its_matching_ends() {
    let directory = Directory::default();
    directory.upsert(agent("a"));
    let (go_on, matching) = long(&directory, "greedy").await;
    matching.abort();
    assert!(matching.await.unwrap_err().is_cancelled());
    let mut next = Box::pin(directory.matching("greedy", TRIES_INLINE + 1, |_| true));
    assert!(next.as_mut().now_or_never().is_none(), "its thread is still at work");
    go_on.send(()).unwrap();
    assert_eq!(timeout(LIMIT, next).await.expect("its next turn").len(), 1);
}
