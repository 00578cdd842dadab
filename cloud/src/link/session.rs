//! One link from its first frame to its end.
//!
//! [`attach`] runs inside the RPC; the reader is a task of its own. The reader ends when the agent's stream ends, when
//! the response stream is dropped, when the agent is silent for too long, when it breaks a rule, or when the registry
//! ends the link. Whichever comes first: the registry forgets the link and reports [`Report::Gone`] once.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use futures::{Stream, StreamExt};
use opslink::{
    chunk,
    id::{AgentId, AttemptId},
    pb,
    pb::{attach_request::Frame, attach_response},
    problem::Problem,
    reason::Reason,
    session::{
        handshake::{self, Versions},
        heartbeat::{Beat, Heartbeat},
    },
    time::UnixMicros,
};
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Arrival, ChunkReport, Frames, Link, Links, Outbox, Report};

/// What a chunk costs beside its payload, in bytes of memory.
const CHUNK_OVERHEAD: usize = 512;
/// Longest wait for the store while a link comes up.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

pub(super) async fn attach<S>(
    links: &Links,
    agent_id: AgentId,
    peer: String,
    mut inbound: S,
) -> Result<impl Stream<Item = Result<pb::AttachResponse, Problem>> + Send + 'static + use<S>, Problem>
where
    S: Stream<Item = Result<pb::AttachRequest, Status>> + Send + Unpin + 'static,
{
    let config = &links.0.config;
    let hello = match timeout(config.hello_timeout, inbound.next()).await {
        Ok(Some(Ok(pb::AttachRequest {
            frame: Some(Frame::Hello(hello)),
        }))) => hello,
        Ok(Some(Ok(pb::AttachRequest { frame }))) => return Err(unexpected(frame.as_ref())),
        Ok(Some(Err(_)) | None) => return Err(Problem::plain(Reason::LinkDead, "the agent went before its Hello")),
        Err(_) => return Err(Problem::new(Reason::LinkDead).with("seconds", config.hello_timeout.as_secs())),
    };
    let offered = Versions {
        min: hello.min_version,
        max: hello.max_version,
    };
    let version = handshake::choose(offered, handshake::SUPPORTED)?;

    let outbox = Outbox::new(config.tasks_max);
    let link = Arc::new(Link {
        agent_id,
        outbox: outbox.clone(),
        stop: CancellationToken::new(),
        epoch: AtomicU64::new(0),
        last_frame: AtomicI64::new(UnixMicros::now().0),
    });
    // From here on every way out, also a dropped future, takes the link out of the registry again.
    let presence = Presence {
        links: links.clone(),
        link: link.clone(),
    };

    let (answer, answered) = oneshot::channel();
    let arrival = Arrival {
        agent_id,
        peer,
        hello,
        link: link.clone(),
        answer,
    };
    let away = || Problem::new(Reason::Draining);
    links
        .0
        .reports
        .send(Report::Arrived(arrival))
        .await
        .map_err(|_| away())?;
    let slow =
        |_| Problem::new(Reason::DatabaseUnavailable).with("detail", "the store took too long to greet an agent");
    let greeting = timeout(ANSWER_TIMEOUT, answered)
        .await
        .map_err(slow)?
        .map_err(|_| away())??;

    outbox.welcome(pb::Welcome {
        version,
        session_epoch: greeting.session_epoch,
        attempts: greeting.attempts,
        initial_credit_bytes: config.initial_credit_bytes,
        heartbeat_secs: u32::try_from(config.heartbeat.as_secs()).unwrap_or(u32::MAX),
        time_us: UnixMicros::now().0,
    });
    // Owned by the link: ends with it (see the module's doc), and what it reads goes into bounded queues.
    tokio::spawn(read(presence, inbound));
    let stop = link.stop.clone();
    Ok(Frames {
        outbox,
        ended: Some(move || stop.cancel()),
    })
}

/// Takes the link out of the registry when dropped.
struct Presence {
    links: Links,
    link: Arc<Link>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        // First the mark, then the removal: an admission that runs at the same time sees one or the other.
        self.link.end(None);
        if !self.links.forget(&self.link) {
            return;
        }
        let reports = self.links.0.reports.clone();
        if let Err(TrySendError::Full(report)) = reports.try_send(Report::Gone(self.link.agent_id))
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Ends when the queue has room or its reader is gone.
            runtime.spawn(async move { reports.send(report).await });
        }
    }
}

async fn read<S>(presence: Presence, mut inbound: S)
where
    S: Stream<Item = Result<pb::AttachRequest, Status>> + Unpin,
{
    let (links, link) = (&presence.links, &presence.link);
    let config = &links.0.config;
    let born = Instant::now();
    let mut heartbeat = Heartbeat::pinging(config.heartbeat, config.missed_max, born.elapsed());
    let beat = sleep_until(born);
    tokio::pin!(beat);
    loop {
        tokio::select! {
            biased;
            () = link.stop.cancelled() => return,
            frame = inbound.next() => {
                let Some(Ok(frame)) = frame else { return };
                link.last_frame.store(UnixMicros::now().0, Ordering::Relaxed);
                let handled = tokio::select! {
                    biased;
                    () = link.stop.cancelled() => return,
                    handled = handle(links, link, frame.frame) => handled,
                };
                match handled {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(problem) => {
                        tracing::warn!(agent_id = %link.agent_id, %problem, "agent broke a rule of the link");
                        return link.end(Some(problem));
                    }
                }
                // After the handling: waiting for the store is not the agent's silence.
                heartbeat.heard(born.elapsed());
            }
            () = &mut beat => loop {
                match heartbeat.step(born.elapsed()) {
                    Beat::Ping { nonce } => {
                        link.outbox.control(attach_response::Frame::Ping(pb::Ping { nonce }));
                    }
                    Beat::Wait { until } => {
                        beat.as_mut().reset(born + until);
                        break;
                    }
                    Beat::Dead { silence } => {
                        let problem = Problem::new(Reason::LinkDead).with("seconds", silence.as_secs());
                        return link.end(Some(problem));
                    }
                }
            },
        }
    }
}

/// Handles one frame; `false` means that the agent said good-bye.
async fn handle(links: &Links, link: &Link, frame: Option<Frame>) -> Result<bool, Problem> {
    let agent_id = link.agent_id;
    let report = match frame {
        Some(Frame::Chunk(chunk)) => {
            let attempt_id = check(&chunk)?;
            let size = u32::try_from(chunk.payload.len() + CHUNK_OVERHEAD).unwrap_or(u32::MAX);
            // Both waits end with the process only; until then the agent feels them.
            let Ok(permit) = links.0.room.clone().acquire_many_owned(size).await else {
                return Ok(false);
            };
            let report = ChunkReport {
                agent_id,
                attempt_id,
                chunk,
                _permit: permit,
            };
            return Ok(links.0.chunks.send(report).await.is_ok());
        }
        Some(Frame::Accepted(accepted)) => Report::Accepted(agent_id, accepted),
        Some(Frame::Refused(refused)) => Report::Refused(agent_id, refused),
        Some(Frame::Facts(facts)) => Report::Facts(agent_id, facts),
        Some(Frame::Pong(_)) => return Ok(true),
        Some(Frame::Goodbye(goodbye)) => {
            tracing::info!(%agent_id, reason = goodbye.reason, "agent says good-bye");
            return Ok(false);
        }
        Some(Frame::Unimplemented(unimplemented)) => {
            tracing::warn!(%agent_id, frame = unimplemented.frame, "agent does not know a frame");
            return Ok(true);
        }
        frame @ Some(Frame::Hello(_)) => return Err(unexpected(frame.as_ref())),
        // A frame of a newer agent: said so, and the link lives on.
        None => {
            let frame = attach_response::Frame::Unimplemented(pb::Unimplemented { frame: String::new() });
            link.outbox.control(frame);
            return Ok(true);
        }
    };
    Ok(links.0.reports.send(report).await.is_ok())
}

fn check(chunk: &pb::LogChunk) -> Result<AttemptId, Problem> {
    if chunk.payload.len() > chunk::PAYLOAD_MAX {
        let problem = Problem::new(Reason::MessageTooLarge).with("size", chunk.payload.len());
        return Err(problem.with("limit", chunk::PAYLOAD_MAX));
    }
    let invalid = |detail: chunk::Error| {
        Problem::new(Reason::ChunkInvalid)
            .with("attempt", &chunk.attempt_id)
            .with("detail", detail)
    };
    chunk::check_header(chunk).map_err(invalid)
}

fn unexpected(frame: Option<&Frame>) -> Problem {
    let name = match frame {
        Some(Frame::Hello(_)) => "Hello",
        Some(Frame::Chunk(_)) => "LogChunk",
        Some(Frame::Accepted(_)) => "Accepted",
        Some(Frame::Refused(_)) => "Refused",
        Some(Frame::Pong(_)) => "Pong",
        Some(Frame::Facts(_)) => "Facts",
        Some(Frame::Goodbye(_)) => "Goodbye",
        Some(Frame::Unimplemented(_)) => "Unimplemented",
        None => "unknown",
    };
    Problem::new(Reason::FrameUnexpected).with("frame", name)
}
