//! What every engine promises.

use crate::store::conformance::*;

async fn filled(store: &Shared, chunks: u64, size: usize) -> (AttemptId, Vec<Chunk>) {
    let attempt = AttemptId::new();
    let chunks: Vec<_> = (0..chunks).map(|number| chunk(attempt, number * 10, size)).collect();
    let answers = store.chunk_append(chunks.clone()).await.expect("an answer");
    assert!(answers.iter().all(|answer| answer.stored));
    (attempt, chunks)
}

pub(in crate::store) async fn output_that_comes_with_an_end_is_stored_with_it_or_not_at_all(store: Shared) {
    let (_, executions) = stored_task(&store, &["web-1", "web-2"]).await;
    let mut running = Vec::new();
    for execution in &executions {
        running.push(applied(&store, dispatch(execution)).await);
    }
    let ended = |execution: &Execution| {
        let mut write = end(execution, ExecutionState::Succeeded);
        let attempt = execution.attempt_id.expect("an attempt");
        write.output = Some(Chunk {
            outcome: write.after.outcome.clone(),
            ..chunk(attempt, 0, 300)
        });
        write
    };
    let good = ended(&running[0]);
    let mut overtaken = ended(&running[1]);
    overtaken.before.1 = Some(AttemptId::new());
    let writes = vec![good.clone(), overtaken.clone()];
    let answers = store.execution_apply(writes, None).await.expect("changes");
    assert_eq!(
        answers.iter().map(|(applied, _)| *applied).collect::<Vec<_>>(),
        [true, false]
    );

    let (stored, other) = (good.output.expect("output"), overtaken.output.expect("output"));
    let attempts = [stored.attempt_id, other.attempt_id];
    assert_eq!(store.chunk_next_seq(&attempts).await.expect("positions"), [10, 0]);
    let read = |attempt, start| store.chunk_read(attempt, start, 1 << 20);
    assert_eq!(
        read(stored.attempt_id, ChunkStart::Seq(0)).await.expect("a read"),
        std::slice::from_ref(&stored)
    );
    assert_eq!(
        read(stored.attempt_id, ChunkStart::Line(9)).await.expect("a read"),
        std::slice::from_ref(&stored)
    );
    assert!(
        read(stored.attempt_id, ChunkStart::Seq(10))
            .await
            .expect("a read")
            .is_empty()
    );
    assert!(
        read(other.attempt_id, ChunkStart::Seq(0))
            .await
            .expect("a read")
            .is_empty()
    );
    let index = store.chunk_index(stored.attempt_id, 0, 10).await.expect("an index");
    let bare = Chunk {
        payload: Bytes::new(),
        ..stored.clone()
    };
    assert_eq!(index, [bare]);

    // It comes again the other way, between chunks of others: nothing is stored twice.
    let third = chunk(AttemptId::new(), 0, 10);
    let again = vec![other.clone(), stored.clone(), third.clone()];
    let answers = store.chunk_append(again).await.expect("answers");
    let stored_flags: Vec<_> = answers.iter().map(|answer| (answer.next_seq, answer.stored)).collect();
    assert_eq!(stored_flags, [(10, true), (10, false), (10, true)]);
    assert_eq!(
        read(stored.attempt_id, ChunkStart::Seq(0)).await.expect("a read"),
        [stored]
    );
    assert_eq!(
        read(other.attempt_id, ChunkStart::Seq(0)).await.expect("a read"),
        [other]
    );
}

pub(in crate::store) async fn chunks_are_stored_only_when_they_continue_their_attempt(store: Shared) {
    let attempt = AttemptId::new();
    let append = |chunk: Chunk| {
        let store = &store;
        async move { store.chunk_append(vec![chunk]).await.expect("an answer")[0] }
    };
    let outcome = end(&queued(&new_task(), "a"), ExecutionState::Failed).after.outcome;
    let last = Chunk {
        outcome,
        ..chunk(attempt, 10, 50)
    };
    assert_eq!(
        append(chunk(attempt, 5, 10)).await,
        Appended {
            next_seq: 0,
            stored: false
        },
        "a gap at the start"
    );
    assert_eq!(
        append(chunk(attempt, 0, 10)).await,
        Appended {
            next_seq: 10,
            stored: true
        }
    );
    assert_eq!(
        append(chunk(attempt, 0, 99)).await,
        Appended {
            next_seq: 10,
            stored: false
        },
        "a repetition"
    );
    assert_eq!(
        append(chunk(attempt, 5, 10)).await,
        Appended {
            next_seq: 10,
            stored: false
        },
        "an overlap"
    );
    assert_eq!(
        append(chunk(attempt, 20, 10)).await,
        Appended {
            next_seq: 10,
            stored: false
        },
        "a gap"
    );
    let empty = Chunk {
        event_count: 0,
        ..chunk(attempt, 10, 0)
    };
    assert_eq!(
        append(empty).await,
        Appended {
            next_seq: 10,
            stored: false
        },
        "no events"
    );
    assert_eq!(
        append(last.clone()).await,
        Appended {
            next_seq: 20,
            stored: true
        }
    );
    let stored = store
        .chunk_read(attempt, ChunkStart::Seq(0), usize::MAX)
        .await
        .expect("chunks");
    assert_eq!(stored, [chunk(attempt, 0, 10), last]);
    assert!(store.chunk_append(Vec::new()).await.expect("nothing to do").is_empty());
}

pub(in crate::store) async fn a_batch_may_hold_many_chunks_of_many_attempts(store: Shared) {
    let attempts: Vec<_> = (0..30).map(|_| AttemptId::new()).collect();
    let mut batch: Vec<_> = [0, 10, 20, 20, 50]
        .iter()
        .flat_map(|seq| attempts.iter().map(|attempt| chunk(*attempt, *seq, 30)))
        .collect();
    batch.push(chunk(attempts[0], 30, 30));
    let answers = store.chunk_append(batch).await.expect("answers");
    let wanted = [(10, true), (20, true), (30, true), (30, false), (30, false)];
    for (position, answer) in answers.iter().take(150).enumerate() {
        assert_eq!((answer.next_seq, answer.stored), wanted[position / 30], "{position}");
    }
    assert_eq!(
        answers[150],
        Appended {
            next_seq: 40,
            stored: true
        }
    );
    let asked = [attempts[0], AttemptId::new(), attempts[29], attempts[0]];
    assert_eq!(store.chunk_next_seq(&asked).await.expect("positions"), [40, 0, 30, 40]);
}

pub(in crate::store) async fn of_racing_chunks_for_one_place_one_is_stored(store: Shared) {
    let (attempt, _) = filled(&store, 1, 10).await;
    let race = (0..20).map(|number| {
        let store = store.clone();
        let racer = Chunk {
            event_count: 1 + number,
            ..chunk(attempt, 10, 10 + number as usize)
        };
        tokio::spawn(async move { store.chunk_append(vec![racer]).await.expect("an answer")[0] })
    });
    let answers = futures::future::try_join_all(race).await.expect("no panic");
    assert_eq!(answers.iter().filter(|answer| answer.stored).count(), 1, "{answers:?}");
    let stored = store.chunk_index(attempt, 0, 10).await.expect("chunks");
    assert_eq!(stored.len(), 2);
    assert!(answers.iter().all(|answer| answer.next_seq == stored[1].next_seq()));
}

pub(in crate::store) async fn reading_starts_at_the_chunk_that_holds_the_event(store: Shared) {
    let (attempt, chunks) = filled(&store, 4, 10).await;
    for (seq, from) in [(0, 0), (9, 0), (10, 1), (35, 3), (39, 3), (40, 4), (4_000, 4)] {
        let read = store
            .chunk_read(attempt, ChunkStart::Seq(seq), usize::MAX)
            .await
            .expect("chunks");
        assert_eq!(read, chunks[from..], "event {seq}");
    }
    assert!(
        store
            .chunk_read(AttemptId::new(), ChunkStart::Seq(0), 1)
            .await
            .expect("chunks")
            .is_empty()
    );
}

pub(in crate::store) async fn reading_starts_where_the_line_begins(store: Shared) {
    let attempt = AttemptId::new();
    // Lines 0–1 and the beginning of 2 │ more of 2 │ the end of 2, 3, 4 │ 5, which may begin in the chunk before.
    let shapes = [(0, 2), (2, 0), (2, 3), (5, 1)];
    let chunks: Vec<_> = (0..)
        .zip(shapes)
        .map(|(number, (first_line, line_count))| Chunk {
            first_line,
            line_count,
            ..chunk(attempt, number * 10, 5)
        })
        .collect();
    store.chunk_append(chunks.clone()).await.expect("an answer");
    for (line, from) in [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 2),
        (4, 2),
        (5, 2),
        (6, 3),
        (7, 4),
        (9_000, 4),
    ] {
        let read = store
            .chunk_read(attempt, ChunkStart::Line(line), usize::MAX)
            .await
            .expect("chunks");
        assert_eq!(read, chunks[from..], "line {line}");
    }
}

pub(in crate::store) async fn reading_stops_at_its_byte_limit_but_always_moves(store: Shared) {
    let (attempt, chunks) = filled(&store, 5, 100).await;
    for (limit, count) in [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (450, 4), (500, 5)] {
        let read = store
            .chunk_read(attempt, ChunkStart::Seq(0), limit)
            .await
            .expect("chunks");
        assert_eq!(read, chunks[..count], "limit {limit}");
    }
}

pub(in crate::store) async fn an_index_has_no_payload(store: Shared) {
    let (attempt, chunks) = filled(&store, 5, 100).await;
    let bare: Vec<_> = chunks
        .into_iter()
        .map(|chunk| Chunk {
            payload: Bytes::new(),
            ..chunk
        })
        .collect();
    assert_eq!(store.chunk_index(attempt, 0, 100).await.expect("chunks"), bare);
    assert_eq!(store.chunk_index(attempt, 15, 2).await.expect("chunks"), bare[1..3]);
}
