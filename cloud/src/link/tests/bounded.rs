//! What stands beside the output of a chunk costs its agent as much as the output does, few forms of it are taken, and
//! nothing that waits keeps the frame in which it came.

use bytes::Bytes;
use prost::Message;

use super::*;

fn with_outcome(payload: usize, outcome: pb::Outcome) -> pb::LogChunk {
    pb::LogChunk {
        outcome: Some(outcome),
        ..chunk(payload)
    }
}

/// Links whose chunks nobody takes but the test.
fn kept() -> (Links, mpsc::Receiver<ChunkReport>) {
    let (links, Inbox { reports, chunks }) = Links::new(Config::default());
    let (_none, nothing) = mpsc::channel(1);
    desk(
        &links,
        Inbox {
            reports,
            chunks: nothing,
        },
    );
    (links, chunks)
}

#[tokio::test]
async fn an_outcome_of_more_streams_than_there_are_ends_the_link_before_it_waits() {
    let (links, mut chunks) = kept();
    let outcome = pb::Outcome {
        streams: vec![pb::StreamDigest::default(); 3],
        ..Default::default()
    };
    let frames = vec![Some(hello()), Some(Up::Chunk(with_outcome(1, outcome)))];
    let (_up, frames) = attach(&links, AgentId::new(), frames).await;
    assert_eq!(end(&mut frames.unwrap()).await.reason, Reason::ChunkInvalid);
    assert!(chunks.try_recv().is_err(), "it reached the queue");
}

#[tokio::test]
async fn a_message_takes_room_among_the_chunks_of_its_agent() {
    let (links, chunks) = kept();
    let outcome = pb::Outcome {
        message: "m".repeat(4 << 10),
        ..Default::default()
    };
    let chunk = with_outcome(20 << 10, outcome);
    // Of 4 MiB; its end is kept three times.
    let of_end = chunk.outcome.as_ref().map_or(0, Message::encoded_len);
    let most = (4 << 20) / (chunk.encoded_len() + 2 * of_end + 512);
    let (up, frames) = attach(&links, AgentId::new(), vec![Some(hello())]).await;
    let _frames = frames.unwrap();
    let request = pb::AttachRequest {
        frame: Some(Up::Chunk(chunk)),
    };
    let flood = tokio::spawn(async move {
        for _ in 0..most + 20 {
            up.send(Ok(request.clone())).await.unwrap();
        }
        up
    });
    let filled = async {
        while chunks.len() < most {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Time for more to come, if more could.
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, filled).await.expect("chunks in time");
    assert_eq!(chunks.len(), most);
    flood.abort();
}

#[tokio::test]
async fn a_chunk_that_waits_for_the_store_keeps_nothing_of_the_buffer_it_came_in() {
    let (links, mut chunks) = kept();
    let digest = pb::StreamDigest {
        stream: pb::Stream::Stdout.into(),
        bytes: 1,
        blake3: vec![7; 32].into(),
    };
    let outcome = pb::Outcome {
        streams: vec![digest],
        ..Default::default()
    };
    let sent = with_outcome(10, outcome);
    let frame = Some(Up::Chunk(sent.clone()));
    let buffer = Bytes::from(pb::AttachRequest { frame }.encode_to_vec());
    let came = pb::AttachRequest::decode(buffer.clone()).unwrap();
    assert!(!buffer.is_unique(), "what is read of it are slices");
    let (_up, frames) = attach(&links, AgentId::new(), vec![Some(hello()), came.frame]).await;
    let _frames = frames.unwrap();
    let waiting = tokio::time::timeout(Duration::from_secs(10), chunks.recv()).await;
    let waiting = waiting.expect("a chunk in time").expect("a chunk");
    assert_eq!(waiting.chunk, sent);
    assert!(buffer.is_unique(), "something keeps it");
}

#[tokio::test]
async fn an_agent_tells_no_more_of_itself_by_coming_back() {
    let (links, inbox) = Links::new(Config::default());
    let mut reports = desk(&links, inbox);
    let agent = AgentId::new();
    let facts = |hostname: usize| {
        Some(Up::Facts(pb::Facts {
            hostname: format!("host-{hostname}"),
            ..Default::default()
        }))
    };
    let attempt_id = AttemptId::new().to_string();
    let accepted = pb::Accepted {
        attempt_id,
        ..Default::default()
    };
    let mut told = 0;
    for _ in 0..3 {
        let mut frames: Vec<_> = (0..10).map(facts).collect();
        frames.insert(0, Some(hello()));
        frames.push(Some(Up::Accepted(accepted.clone())));
        let (_up, frames) = attach(&links, agent, frames).await;
        let _frames = frames.unwrap();
        loop {
            match tokio::time::timeout(Duration::from_secs(10), reports.recv()).await {
                Ok(Some(Report::Facts(..))) => told += 1,
                Ok(Some(Report::Accepted { .. })) => break,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => panic!("nothing comes"),
            }
        }
    }
    assert_eq!(told, 6, "in a burst, and one each ten seconds");
}
