//! The rules of the link, by themselves: nobody answers but the test.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use opslink::{pb::attach_request::Frame as Up, pb::attach_response::Frame as Down};
use tokio_stream::wrappers::ReceiverStream;

use super::*;

mod bounded;

type Frames = BoxStream<'static, Result<pb::AttachResponse, Problem>>;
type Up1 = mpsc::Sender<Result<pb::AttachRequest, Status>>;

fn hello() -> Up {
    Up::Hello(pb::Hello {
        min_version: 1,
        max_version: 1,
        ..Default::default()
    })
}

fn quick() -> Config {
    Config {
        hello_timeout: Duration::from_millis(50),
        heartbeat: Duration::from_millis(20),
        ..Config::default()
    }
}

fn chunk(payload: usize) -> pb::LogChunk {
    pb::LogChunk {
        attempt_id: AttemptId::new().to_string(),
        event_count: 1,
        raw_size: 1,
        codec: pb::Codec::Identity.into(),
        payload: vec![0; payload].into(),
        ..Default::default()
    }
}

/// Attaches with these frames; arrivals are greeted like in a cloud that knows nothing.
async fn attach(links: &Links, agent: AgentId, frames: Vec<Option<Up>>) -> (Up1, Result<Frames, Problem>) {
    let (up, inbound) = mpsc::channel(64);
    for frame in frames {
        up.send(Ok(pb::AttachRequest { frame })).await.unwrap();
    }
    let attached = links.attach(agent, "test".into(), ReceiverStream::new(inbound)).await;
    (up, attached.map(StreamExt::boxed))
}

/// Greets arrivals and hands out the other reports.
fn desk(links: &Links, mut inbox: Inbox) -> mpsc::Receiver<Report> {
    let (out, reports) = mpsc::channel(64);
    let links = links.clone();
    tokio::spawn(async move {
        let mut epoch = 0;
        while let Some(report) = inbox.reports.recv().await {
            match report {
                Report::Arrived(arrival) => {
                    epoch += 1;
                    links.admit(&arrival, epoch);
                    arrival.answer(Ok(Greeting {
                        session_epoch: epoch,
                        attempts: Vec::new(),
                    }));
                }
                other => drop(out.send(other).await),
            }
        }
        drop(inbox.chunks);
    });
    reports
}

async fn next(frames: &mut Frames) -> Result<Down, Problem> {
    let next = tokio::time::timeout(Duration::from_secs(10), frames.next())
        .await
        .expect("a frame in time");
    next.expect("a frame").map(|frame| frame.frame.unwrap())
}

/// Why the link ends, passing over what comes before.
async fn end(frames: &mut Frames) -> Problem {
    loop {
        if let Err(why) = next(frames).await {
            return why;
        }
    }
}

#[tokio::test]
async fn the_first_frame_must_be_a_hello_of_a_known_version_and_in_time() {
    let (links, inbox) = Links::new(quick());
    let _reports = desk(&links, inbox);
    let agent = AgentId::new();
    let reason = async |frames| attach(&links, agent, frames).await.1.err().unwrap().reason;
    assert_eq!(reason(vec![]).await, Reason::LinkDead);
    assert_eq!(
        reason(vec![Some(Up::Pong(pb::Pong { nonce: 1 }))]).await,
        Reason::FrameUnexpected
    );
    assert_eq!(reason(vec![None]).await, Reason::FrameUnexpected);
    let newer = pb::Hello {
        min_version: 900,
        max_version: 901,
        ..Default::default()
    };
    assert_eq!(reason(vec![Some(Up::Hello(newer))]).await, Reason::VersionUnsupported);
    assert!(links.is_empty());
}

#[tokio::test]
async fn an_unknown_frame_is_said_to_be_unknown_and_the_link_lives_on() {
    let (links, inbox) = Links::new(Config::default());
    let mut reports = desk(&links, inbox);
    let (up, frames) = attach(&links, AgentId::new(), vec![Some(hello()), None]).await;
    let mut frames = frames.unwrap();
    assert!(matches!(next(&mut frames).await, Ok(Down::Welcome(_))));
    assert!(matches!(next(&mut frames).await, Ok(Down::Unimplemented(_))));
    up.send(Ok(pb::AttachRequest {
        frame: Some(Up::Facts(pb::Facts::default())),
    }))
    .await
    .unwrap();
    assert!(matches!(reports.recv().await, Some(Report::Facts(..))));
}

#[tokio::test]
async fn what_an_agent_says_is_read_once_and_what_names_no_attempt_ends_the_link() {
    let (links, inbox) = Links::new(Config::default());
    let mut reports = desk(&links, inbox);
    let (agent, id) = (AgentId::new(), AttemptId::new());
    let accepted = |attempt_id: &str, phase: pb::AttemptPhase| {
        let phase = phase.into();
        let attempt_id = attempt_id.to_owned();
        Some(Up::Accepted(pb::Accepted { attempt_id, phase }))
    };
    let refused = pb::Refused {
        attempt_id: id.to_string(),
        reason: "POLICY_DENIED".into(),
        message: "m".repeat(1 << 20),
    };
    let said = vec![
        Some(hello()),
        accepted(&id.to_string(), pb::AttemptPhase::Accepted),
        accepted(&id.to_string(), pb::AttemptPhase::Unspecified),
        Some(Up::Refused(refused)),
        accepted("none", pb::AttemptPhase::Running),
    ];
    let (_up, frames) = attach(&links, agent, said).await;
    for has_started in [false, true] {
        let report = reports.recv().await.unwrap();
        let Report::Accepted { attempt, started, .. } = report else {
            panic!("{report:?}")
        };
        assert_eq!((attempt, started), (id, has_started));
    }
    let report = reports.recv().await.unwrap();
    let Report::Refused { attempt, message, .. } = report else {
        panic!("{report:?}")
    };
    assert_eq!(attempt, id);
    assert!(message.len() < 1 << 20, "cut to what lists can show");
    assert_eq!(end(&mut frames.unwrap()).await.reason, Reason::FrameUnexpected);
}

#[tokio::test]
async fn chunks_that_break_the_limits_close_the_link_with_a_reason() {
    let (links, inbox) = Links::new(Config::default());
    let _reports = desk(&links, inbox);
    let good = chunk(1);
    let bad = [
        (
            pb::LogChunk {
                payload: vec![0; opslink::chunk::PAYLOAD_MAX + 1].into(),
                ..good.clone()
            },
            Reason::MessageTooLarge,
        ),
        (
            pb::LogChunk {
                raw_size: opslink::chunk::SENT_RAW_MAX as u64 + 1,
                ..good.clone()
            },
            Reason::ChunkInvalid,
        ),
        (
            pb::LogChunk {
                event_count: 0,
                ..good.clone()
            },
            Reason::ChunkInvalid,
        ),
        (
            pb::LogChunk {
                first_seq: u64::MAX,
                ..good.clone()
            },
            Reason::ChunkInvalid,
        ),
        (
            pb::LogChunk {
                attempt_id: "no".into(),
                ..good
            },
            Reason::ChunkInvalid,
        ),
    ];
    for (chunk, reason) in bad {
        let agent = AgentId::new();
        let (_up, frames) = attach(&links, agent, vec![Some(hello()), Some(Up::Chunk(chunk))]).await;
        let mut frames = frames.unwrap();
        assert!(matches!(next(&mut frames).await, Ok(Down::Welcome(_))));
        assert_eq!(next(&mut frames).await.unwrap_err().reason, reason);
        assert!(frames.next().await.is_none());
    }
}

#[tokio::test]
async fn a_silent_agent_is_pinged_and_then_given_up() {
    let (links, inbox) = Links::new(quick());
    let mut reports = desk(&links, inbox);
    let (_up, frames) = attach(&links, AgentId::new(), vec![Some(hello())]).await;
    let mut frames = frames.unwrap();
    let mut pings = 0;
    loop {
        match next(&mut frames).await {
            Ok(Down::Ping(_)) => pings += 1,
            Ok(_) => {}
            Err(problem) => break assert_eq!(problem.reason, Reason::LinkDead),
        }
    }
    assert!(pings >= 1);
    assert!(matches!(reports.recv().await, Some(Report::Gone(..))));
    assert!(links.is_empty());
}

#[tokio::test]
async fn an_agent_that_answers_pings_stays() {
    let (links, inbox) = Links::new(Config {
        heartbeat: Duration::from_millis(100),
        ..quick()
    });
    let _reports = desk(&links, inbox);
    let (up, frames) = attach(&links, AgentId::new(), vec![Some(hello())]).await;
    let mut frames = frames.unwrap();
    let mut pings = 0;
    // Twice as many as a silent agent would live to see.
    while pings < 8 {
        if let Down::Ping(ping) = next(&mut frames).await.unwrap() {
            pings += 1;
            let pong = Up::Pong(pb::Pong { nonce: ping.nonce });
            up.send(Ok(pb::AttachRequest { frame: Some(pong) })).await.unwrap();
        }
    }
    assert_eq!(links.len(), 1);
}

#[tokio::test]
async fn a_link_whose_agent_went_is_forgotten_and_reported_once() {
    let (links, inbox) = Links::new(Config::default());
    let mut reports = desk(&links, inbox);
    let agent = AgentId::new();
    let (up, frames) = attach(&links, agent, vec![Some(hello())]).await;
    drop(frames.unwrap());
    assert!(matches!(reports.recv().await, Some(Report::Gone(gone, _)) if gone == agent));
    assert!(!links.is_live(agent));
    drop(up);
    let (up, frames) = attach(&links, agent, vec![Some(hello())]).await;
    drop(up);
    assert!(matches!(reports.recv().await, Some(Report::Gone(gone, _)) if gone == agent));
    drop(frames);
    assert!(reports.try_recv().is_err());
}

#[tokio::test]
async fn a_drain_tells_every_agent_and_ends_its_link() {
    let (links, inbox) = Links::new(Config::default());
    let _reports = desk(&links, inbox);
    let (_up, frames) = attach(&links, AgentId::new(), vec![Some(hello())]).await;
    let mut frames = frames.unwrap();
    assert!(matches!(next(&mut frames).await, Ok(Down::Welcome(_))));
    links.drain(Duration::from_secs(2));
    assert!(matches!(next(&mut frames).await, Ok(Down::Drain(drain)) if drain.retry_after_ms == 2_000));
    assert_eq!(next(&mut frames).await.unwrap_err().reason, Reason::Draining);
}

#[tokio::test]
async fn a_chunk_stands_behind_few_of_another_agent_and_all_of_them_come() {
    // Payload, and how many of it one agent may have waiting.
    for (bytes, most) in [(1, 256), (256 << 10, 15), (opslink::chunk::PAYLOAD_MAX, 1)] {
        let (links, Inbox { reports, mut chunks }) = Links::new(Config::default());
        let (_none, nothing) = mpsc::channel(1);
        let _reports = desk(
            &links,
            Inbox {
                reports,
                chunks: nothing,
            },
        );
        let chunk = chunk(bytes);
        let (busy, quiet) = (AgentId::new(), AgentId::new());
        let (up, frames) = attach(&links, busy, vec![Some(hello())]).await;
        let _frames = frames.unwrap();
        let all = most + 50;
        let request = pb::AttachRequest {
            frame: Some(Up::Chunk(chunk.clone())),
        };
        let flood = tokio::spawn(async move {
            for _ in 0..all {
                up.send(Ok(request.clone())).await.unwrap();
            }
            up
        });
        let limit = Duration::from_secs(10);
        let filled = async {
            while chunks.len() < most {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Time for more to come, if more could.
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        tokio::time::timeout(limit, filled).await.expect("chunks in time");
        let (_up, frames) = attach(&links, quiet, vec![Some(hello()), Some(Up::Chunk(chunk))]).await;
        let _quiet_frames = frames.unwrap();
        let mut waiting = Vec::new();
        loop {
            let next = tokio::time::timeout(limit, chunks.recv()).await;
            let report = next.expect("a chunk in time").expect("a chunk");
            if report.agent_id == quiet {
                break;
            }
            waiting.push(report);
        }
        assert_eq!(waiting.len(), most, "of {bytes} bytes");
        drop(waiting);
        for _ in most..all {
            let next = tokio::time::timeout(limit, chunks.recv()).await;
            assert_eq!(next.expect("a chunk in time").expect("a chunk").agent_id, busy);
        }
        flood.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_frame_waits_for_room_is_pinged_and_not_given_up() {
    let heartbeat = Duration::from_secs(3);
    let (links, Inbox { reports, mut chunks }) = Links::new(Config {
        heartbeat,
        ..Config::default()
    });
    let (_none, nothing) = mpsc::channel(1);
    let _reports = desk(
        &links,
        Inbox {
            reports,
            chunks: nothing,
        },
    );
    // The first of them takes the room of the second for as long as nobody takes it.
    let large = || Some(Up::Chunk(chunk(opslink::chunk::PAYLOAD_MAX)));
    let (_up, frames) = attach(&links, AgentId::new(), vec![Some(hello()), large(), large()]).await;
    let mut frames = frames.unwrap();
    assert!(matches!(next(&mut frames).await, Ok(Down::Welcome(_))));
    for _ in 0..20 {
        let began = tokio::time::Instant::now();
        assert!(matches!(next(&mut frames).await, Ok(Down::Ping(_))));
        assert!(began.elapsed() < heartbeat * 2, "one in each interval");
    }
    assert_eq!((links.len(), chunks.len()), (1, 1));
    for _ in 0..2 {
        chunks.recv().await.expect("a chunk");
    }
    // From here on its silence is its own.
    assert_eq!(end(&mut frames).await.reason, Reason::LinkDead);
}

#[tokio::test]
async fn who_says_the_same_too_often_is_sent_away_and_has_no_more_of_it_by_coming_back() {
    let (links, inbox) = Links::new(Config::default());
    let mut reports = desk(&links, inbox);
    let (bad, good) = (AgentId::new(), AgentId::new());
    let (_up, frames) = attach(&links, bad, vec![Some(hello())]).await;
    let mut frames = frames.unwrap();
    assert!(matches!(next(&mut frames).await, Ok(Down::Welcome(_))));
    assert!((0..16_384).all(|_| links.may_repeat(bad)), "a resend after a failover");
    assert!((0..1_000_000).any(|_| !links.may_repeat(bad)));
    assert_eq!(end(&mut frames).await.reason, Reason::FrameUnexpected);
    assert!(matches!(reports.recv().await, Some(Report::Gone(gone, _)) if gone == bad));
    drop(frames);
    let (_up, frames) = attach(&links, bad, vec![Some(hello())]).await;
    let mut frames = frames.unwrap();
    assert!(matches!(next(&mut frames).await, Ok(Down::Welcome(_))));
    assert!((0..10_000).any(|_| !links.may_repeat(bad)));
    assert_eq!(end(&mut frames).await.reason, Reason::FrameUnexpected);
    assert!(links.may_repeat(good));
}
