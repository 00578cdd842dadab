//! One link from its first frame to its end.
//!
//! [`attach`] runs inside the RPC; the reader is a task of its own. The reader ends when the agent's stream ends, when
//! the response stream is dropped, when the agent is silent for too long, when it breaks a rule, or when the registry
//! ends the link. Whichever comes first: the registry forgets the link and reports [`Report::Gone`] once.
//!
//! A frame may wait for room, for as long as the store is away. The agent is pinged all the same: it takes a cloud that
//! says nothing for dead.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
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
use prost::Message;
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    Arrival, ChunkReport, Frames, Link, Links, Outbox, Report,
    budget::{self, Budget},
    is_started,
    share::{CHUNK_OVERHEAD, ChunkRoom},
};

/// Longest wait for the store while a link comes up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

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
    let mut hello = match timeout(config.hello_timeout, inbound.next()).await {
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
    budget::bound_hello(&mut hello)?;
    // One of an agent at a time: however often it comes, it takes one place among those that are greeted.
    let turn = links.greeting_turn(agent_id);
    let slow =
        |_| Problem::new(Reason::DatabaseUnavailable).with("detail", "the store took too long to greet an agent");
    let turn = timeout(ANSWER_TIMEOUT, turn).await.map_err(slow)?;

    let outbox = Outbox::new(config.tasks_max);
    let link = Arc::new(Link {
        agent_id,
        outbox: outbox.clone(),
        stop: CancellationToken::new(),
        epoch: AtomicU64::new(0),
        last_frame: AtomicI64::new(UnixMicros::now().0),
        share: links.0.shares.of(agent_id),
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
        number: links.0.arrivals.fetch_add(1, Ordering::Relaxed),
        link: link.clone(),
        answer,
    };
    let away = || Problem::new(Reason::Draining);
    links
        .0
        .reports
        .send(Report::Arrived(Box::new(arrival)))
        .await
        .map_err(|_| away())?;
    let greeting = timeout(ANSWER_TIMEOUT, answered)
        .await
        .map_err(slow)?
        .map_err(|_| away())??;
    drop(turn);

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
        self.links.0.shares.forget(self.link.agent_id);
        if !self.links.forget(&self.link) {
            return;
        }
        let reports = self.links.0.reports.clone();
        let gone = Report::Gone(self.link.agent_id, self.link.epoch.load(Ordering::Relaxed));
        if let Err(TrySendError::Full(report)) = reports.try_send(gone)
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
    let mut budget = Budget::new(born);
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
                let handled = handle(links, link, frame.frame, &mut budget);
                tokio::pin!(handled);
                let handled = loop {
                    tokio::select! {
                        biased;
                        () = link.stop.cancelled() => return,
                        () = &mut beat => {
                            // Nothing of it is read now: that it is not heard is not its silence.
                            heartbeat.heard(born.elapsed());
                            match ping(link, &mut heartbeat, born.elapsed()) {
                                Ok(until) => beat.as_mut().reset(born + until),
                                Err(problem) => return link.end(Some(problem)),
                            }
                        }
                        handled = &mut handled => break handled,
                    }
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
            () = &mut beat => match ping(link, &mut heartbeat, born.elapsed()) {
                Ok(until) => beat.as_mut().reset(born + until),
                Err(problem) => return link.end(Some(problem)),
            },
        }
    }
}

/// Sends the pings that are due; returns when to ask again.
///
/// # Errors
/// The agent has been silent for too long.
fn ping(link: &Link, heartbeat: &mut Heartbeat, now: Duration) -> Result<Duration, Problem> {
    loop {
        match heartbeat.step(now) {
            Beat::Ping { nonce } => link.outbox.control(attach_response::Frame::Ping(pb::Ping { nonce })),
            Beat::Wait { until } => return Ok(until),
            Beat::Dead { silence } => return Err(Problem::new(Reason::LinkDead).with("seconds", silence.as_secs())),
        }
    }
}

/// Handles one frame; `false` means that the agent said good-bye.
async fn handle(links: &Links, link: &Link, frame: Option<Frame>, budget: &mut Budget) -> Result<bool, Problem> {
    let agent_id = link.agent_id;
    let epoch = link.epoch.load(Ordering::Relaxed);
    if !matches!(frame, Some(Frame::Chunk(_)))
        && let Some(until) = budget.frame(Instant::now())
    {
        // Nothing is read from it meanwhile.
        sleep_until(until).await;
    }
    let report = match frame {
        Some(Frame::Chunk(mut chunk)) => {
            let attempt_id = check(&chunk)?;
            budget::bound_chunk(&mut chunk)?;
            // Its end stands in the chunk, in the row that it becomes, and in what is said of it.
            let of_end = chunk.outcome.as_ref().map_or(0, Message::encoded_len);
            let size = chunk.encoded_len() + 2 * of_end + CHUNK_OVERHEAD;
            // First its own share, so that one agent takes little of what all have. The waits end with the process
            // only; until then the agent feels them.
            let Some(own) = link.share.take(size).await else {
                return Ok(false);
            };
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            let Ok(common) = links.0.room.clone().acquire_many_owned(size).await else {
                return Ok(false);
            };
            let report = ChunkReport {
                agent_id,
                attempt_id,
                chunk,
                room: ChunkRoom::new(own, common),
            };
            return Ok(links.0.chunks.send(report).await.is_ok());
        }
        Some(Frame::Accepted(accepted)) => Report::Accepted {
            agent: agent_id,
            epoch,
            attempt: attempt_of("Accepted", &accepted.attempt_id)?,
            started: is_started(accepted.phase()),
        },
        Some(Frame::Refused(mut refused)) => {
            let attempt = attempt_of("Refused", &refused.attempt_id)?;
            budget::bound_refused(&mut refused);
            Report::Refused {
                agent: agent_id,
                epoch,
                attempt,
                reason: refused.reason,
                message: refused.message,
            }
        }
        Some(Frame::Facts(mut facts)) => {
            if !link.share.may_tell() {
                return Ok(true);
            }
            budget::bound_facts(&mut facts);
            Report::Facts(agent_id, facts.encode_to_vec().into())
        }
        Some(Frame::Pong(_)) => return Ok(true),
        Some(Frame::Goodbye(goodbye)) => {
            tracing::info!(%agent_id, reason = goodbye.reason, "agent says good-bye");
            return Ok(false);
        }
        Some(Frame::Unimplemented(unimplemented)) => {
            if budget.unknown().1 {
                let times = budget.unknown_count();
                let frame: String = unimplemented.frame.chars().take(64).collect();
                tracing::warn!(%agent_id, ?frame, times, "agent does not know a frame");
            }
            return Ok(true);
        }
        frame @ Some(Frame::Hello(_)) => return Err(unexpected(frame.as_ref())),
        // A frame of a newer agent: said so, and the link lives on.
        None => {
            if budget.unknown().0 {
                let frame = attach_response::Frame::Unimplemented(pb::Unimplemented { frame: String::new() });
                link.outbox.control(frame);
            }
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
    if chunk.raw_size > chunk::SENT_RAW_MAX as u64 {
        let detail = format!(
            "raw_size is {}; agents send {} at most",
            chunk.raw_size,
            chunk::SENT_RAW_MAX
        );
        return Err(invalid(chunk::Error::Header(detail)));
    }
    chunk::check_header(chunk).map_err(invalid)
}

/// What names no attempt is no frame of an agent of ours.
fn attempt_of(frame: &str, id: &str) -> Result<AttemptId, Problem> {
    id.parse()
        .map_err(|_| Problem::new(Reason::FrameUnexpected).with("frame", frame))
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
