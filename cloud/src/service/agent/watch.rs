//! The stream of `WatchAgents`: everything once, then each change, and a heartbeat when nothing happens.
//!
//! What waits for a caller who reads nothing are ids: each agent is looked up when it is sent, and is sent as it is then.

use std::{collections::VecDeque, time::Duration};

use futures::{Stream, stream};
use opslink::{convert, id::AgentId, pb, pb::watch_agents_response::Event, reason::Reason, time::UnixMicros};
use prost::Message as _;
use tokio::{sync::broadcast, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{agents::Directory, status::to_status};

/// Longest silence of a watch.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// Agents in one message of a snapshot: 10,000 of them in one would pass every limit of message size.
const SNAPSHOT_PART: usize = 1000;
/// Bytes after which a snapshot takes no further agent: what a caller does not read waits in memory.
const SNAPSHOT_BYTES: usize = 256 << 10;

struct Watch {
    directory: Directory,
    changes: broadcast::Receiver<AgentId>,
    /// The list is to be sent from its beginning.
    is_new: bool,
    /// What is left of it.
    rest: VecDeque<AgentId>,
    heartbeat: Duration,
    heartbeat_at: Instant,
    stop: CancellationToken,
    ended: bool,
}

/// Starts watching. Ends when the server stops.
///
/// The snapshot holds up to 1,000 agents; the rest follows as changes, which a client treats alike.
pub(super) fn watch(
    directory: Directory,
    heartbeat: Duration,
    stop: CancellationToken,
) -> impl Stream<Item = Result<pb::WatchAgentsResponse, Status>> + Send {
    // First the subscription, then the list: a change between the two comes twice, never not at all.
    let changes = directory.subscribe();
    let mut watch = Watch {
        directory,
        changes,
        is_new: true,
        rest: VecDeque::new(),
        heartbeat,
        heartbeat_at: Instant::now() + heartbeat,
        stop,
        ended: false,
    };
    watch.start_over();
    stream::unfold(watch, |mut watch| async move {
        watch.next().await.map(|item| (item, watch))
    })
}

impl Watch {
    fn start_over(&mut self) {
        self.is_new = true;
        self.rest = self.directory.ids().into();
    }

    /// The next part of the list: a snapshot first, also of nobody, then each further agent as a change.
    fn next_of_list(&mut self) -> Option<Event> {
        if !std::mem::take(&mut self.is_new) {
            return self.next_of_rest().map(Event::Changed);
        }
        let (mut agents, mut bytes) = (Vec::new(), 0);
        while agents.len() < SNAPSHOT_PART
            && bytes < SNAPSHOT_BYTES
            && let Some(agent) = self.next_of_rest()
        {
            bytes += agent.encoded_len();
            agents.push(agent);
        }
        Some(Event::Snapshot(pb::AgentSnapshot { agents }))
    }

    /// The next agent of the list, as it is now. One that is gone meanwhile comes as a change.
    fn next_of_rest(&mut self) -> Option<pb::Agent> {
        while let Some(id) = self.rest.pop_front() {
            if let Some(view) = self.directory.get(id) {
                return Some(view.to_pb());
            }
        }
        None
    }

    /// How an agent is now.
    fn now(&self, id: AgentId) -> Event {
        match self.directory.get(id) {
            Some(view) => Event::Changed(view.to_pb()),
            None => Event::Removed(id.to_string()),
        }
    }

    async fn next(&mut self) -> Option<Result<pb::WatchAgentsResponse, Status>> {
        if self.ended {
            return None;
        }
        if let Some(event) = self.next_of_list() {
            return Some(self.send(event));
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                self.ended = true;
                Some(Err(to_status(&Reason::Draining.into(), opslink::locale::Language::En)))
            }
            change = self.changes.recv() => match change {
                Ok(id) => {
                    let event = self.now(id);
                    Some(self.send(event))
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.start_over();
                    let event = self.next_of_list()?;
                    Some(self.send(event))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            },
            () = tokio::time::sleep_until(self.heartbeat_at) => {
                let time = Some(convert::timestamp(UnixMicros::now()));
                Some(self.send(Event::Heartbeat(pb::Heartbeat { time })))
            }
        }
    }

    fn send(&mut self, event: Event) -> Result<pb::WatchAgentsResponse, Status> {
        self.heartbeat_at = Instant::now() + self.heartbeat;
        Ok(pb::WatchAgentsResponse { event: Some(event) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::StreamExt;

    use super::*;
    use crate::store::record::Agent;

    fn agent(name: &str) -> Agent {
        Agent {
            id: AgentId::new(),
            name: name.to_owned(),
            labels: Default::default(),
            facts: Default::default(),
            connections: Vec::new(),
            enrolled_at: UnixMicros(1),
            last_seen_at: None,
            session_epoch: 0,
            removed: false,
        }
    }

    /// What comes next beside heartbeats.
    async fn news<S>(watch: &mut S) -> Option<Result<pb::WatchAgentsResponse, Status>>
    where
        S: Stream<Item = Result<pb::WatchAgentsResponse, Status>> + Unpin,
    {
        loop {
            match watch.next().await {
                Some(Ok(pb::WatchAgentsResponse {
                    event: Some(Event::Heartbeat(_)),
                })) => {}
                other => return other,
            }
        }
    }

    #[tokio::test]
    async fn a_watch_has_the_list_then_changes_then_heartbeats_then_an_end() {
        let (directory, stop) = (Directory::default(), CancellationToken::new());
        let (a, b) = (agent("a"), agent("b"));
        directory.upsert(a.clone());
        let mut watch = Box::pin(watch(directory.clone(), Duration::from_millis(20), stop.clone()));
        let Some(Ok(first)) = watch.next().await else {
            panic!("no snapshot")
        };
        let Some(Event::Snapshot(snapshot)) = first.event else {
            panic!("{first:?}")
        };
        assert_eq!(snapshot.agents.len(), 1);

        directory.upsert(b.clone());
        let Some(Ok(changed)) = news(&mut watch).await else {
            panic!("no change")
        };
        assert!(matches!(changed.event, Some(Event::Changed(agent)) if agent.name == "b"));
        directory.remove(a.id);
        let Some(Ok(removed)) = news(&mut watch).await else {
            panic!("no removal")
        };
        assert!(matches!(removed.event, Some(Event::Removed(id)) if id == a.id.to_string()));

        let Some(Ok(heartbeat)) = watch.next().await else {
            panic!("no heartbeat")
        };
        assert!(matches!(heartbeat.event, Some(Event::Heartbeat(_))));
        stop.cancel();
        assert!(watch.next().await.unwrap().is_err());
        assert!(watch.next().await.is_none());
    }

    #[tokio::test]
    async fn what_a_caller_has_not_read_keeps_no_agent_and_comes_as_it_is_then() {
        let directory = Directory::default();
        let (a, b) = (agent("a"), agent("b"));
        directory.upsert(a.clone());
        let mut watch = Box::pin(watch(directory.clone(), HEARTBEAT, CancellationToken::new()));
        directory.upsert(b.clone());
        let mut former = Vec::new();
        for number in 0..100_u64 {
            for agent in [&a, &b] {
                former.push(Arc::downgrade(&directory.get(agent.id).unwrap().agent));
                let facts = pb::Facts {
                    memory_bytes: number + 1,
                    ..Default::default()
                };
                let facts = prost::Message::encode_to_vec(&facts);
                directory.change(agent.id, |agent| agent.facts = facts.into());
            }
        }
        assert!(former.iter().all(|agent| agent.strong_count() == 0), "an agent is kept");
        let memory = |agent: &pb::Agent| agent.facts.as_ref().unwrap().memory_bytes;
        let Some(Ok(first)) = watch.next().await else {
            panic!("no snapshot")
        };
        assert!(matches!(first.event, Some(Event::Snapshot(snapshot)) if memory(&snapshot.agents[0]) == 100));
        let Some(Ok(next)) = watch.next().await else {
            panic!("no change")
        };
        assert!(matches!(next.event, Some(Event::Changed(agent)) if agent.name == "b" && memory(&agent) == 100));
    }

    #[tokio::test]
    async fn a_snapshot_of_agents_that_say_much_has_few_of_them() {
        let directory = Directory::default();
        for n in 0..20 {
            let facts = pb::Facts {
                hostname: "x".repeat(SNAPSHOT_BYTES / 4),
                ..Default::default()
            };
            directory.upsert(Agent {
                facts: prost::Message::encode_to_vec(&facts).into(),
                ..agent(&format!("a{n:02}"))
            });
        }
        let mut watch = Box::pin(watch(directory, HEARTBEAT, CancellationToken::new()));
        let Some(Ok(first)) = watch.next().await else {
            panic!("no snapshot")
        };
        assert!(matches!(first.event, Some(Event::Snapshot(snapshot)) if snapshot.agents.len() == 4));
        for n in 4..20 {
            let Some(Ok(next)) = watch.next().await else {
                panic!("no rest")
            };
            assert!(matches!(next.event, Some(Event::Changed(agent)) if agent.name == format!("a{n:02}")));
        }
    }

    #[tokio::test]
    async fn a_large_fleet_comes_in_messages_of_bounded_size() {
        let directory = Directory::default();
        for n in 0..SNAPSHOT_PART + 5 {
            directory.upsert(agent(&format!("a{n:05}")));
        }
        let mut watch = Box::pin(watch(directory, HEARTBEAT, CancellationToken::new()));
        let Some(Ok(first)) = watch.next().await else {
            panic!("no snapshot")
        };
        assert!(matches!(first.event, Some(Event::Snapshot(snapshot)) if snapshot.agents.len() == SNAPSHOT_PART));
        for _ in 0..5 {
            let Some(Ok(next)) = watch.next().await else {
                panic!("no rest")
            };
            assert!(matches!(next.event, Some(Event::Changed(_))));
        }
    }
}
