//! The rules of the link, by themselves: nobody answers but the test.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use opslink::{pb::attach_request::Frame as Up, pb::attach_response::Frame as Down};
use tokio_stream::wrappers::ReceiverStream;

use super::*;

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
async fn chunks_that_break_the_limits_close_the_link_with_a_reason() {
    let (links, inbox) = Links::new(Config::default());
    let _reports = desk(&links, inbox);
    let good = pb::LogChunk {
        attempt_id: AttemptId::new().to_string(),
        event_count: 1,
        raw_size: 1,
        codec: pb::Codec::Identity.into(),
        payload: vec![0].into(),
        ..Default::default()
    };
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
                raw_size: u64::MAX,
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
    assert!(matches!(reports.recv().await, Some(Report::Gone(_))));
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
    assert!(matches!(reports.recv().await, Some(Report::Gone(gone)) if gone == agent));
    assert!(!links.is_live(agent));
    drop(up);
    let (up, frames) = attach(&links, agent, vec![Some(hello())]).await;
    drop(up);
    assert!(matches!(reports.recv().await, Some(Report::Gone(gone)) if gone == agent));
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
