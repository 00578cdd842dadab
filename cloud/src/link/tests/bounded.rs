//! What stands beside the output of a chunk costs its agent as much as the output does, and few forms of it are taken.

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
    // Of 4 MiB.
    let most = (4 << 20) / (chunk.encoded_len() + 512);
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
