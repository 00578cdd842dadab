//! What the executor says is what a reader gets, whatever the sizes.

use std::sync::Mutex;

use opslink::{
    chunk::{Encoder, EventsTally, LEVEL, OUTPUT_MAX, SEAL_RAW_BYTES},
    event::ColumnKind,
    id::AttemptId,
    pb,
    rows::Joiner,
};
use proptest::{collection::vec, option, prelude::*};

use super::*;

/// Seals as the runner does.
struct Sealing(Mutex<(Encoder, Vec<pb::LogChunk>)>);

#[async_trait]
impl Sink for Sealing {
    async fn emit(&self, event: Event) {
        self.emit_blocking(event);
    }

    fn emit_blocking(&self, event: Event) {
        let mut sealing = self.0.lock().unwrap();
        sealing.0.push(event);
        if sealing.0.is_full() {
            let chunk = sealing.0.seal();
            sealing.1.extend(chunk);
        }
    }

    fn flush(&self) {}
}

/// A step of a script: a row of cells of these sizes, or bytes of a COPY.
#[derive(Debug, Clone)]
enum Step {
    Row(Vec<Option<usize>>),
    Copy(usize),
    Note,
}

fn near(limit: usize) -> impl Strategy<Value = usize> {
    (limit - 3)..(limit + 4)
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        12 => 0..300_usize,
        2 => near(BATCH_BYTES),
        2 => near(SEAL_RAW_BYTES),
        2 => near(EVENT_BYTES),
        1 => near(opslink::chunk::EVENT_MAX),
        1 => 0..4_000_000_usize,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => vec(option::weighted(0.9, size()), 3).prop_map(Step::Row),
        1 => near(OUTPUT_MAX).prop_map(Step::Copy),
        1 => Just(Step::Note),
    ]
}

fn text(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|index| b'a' + ((index + seed) % 23) as u8).collect()
}

#[derive(Debug, Default, PartialEq)]
struct Heard {
    rows: Vec<Vec<Option<Vec<u8>>>>,
    copied: Vec<u8>,
    notes: usize,
    headers: usize,
}

async fn say(steps: &[Step], sink: Arc<Sealing>) -> Heard {
    let mut said = Heard {
        headers: 1,
        ..Heard::default()
    };
    let mut tables = Tables::new(sink, None);
    let column = |name: &str| TableColumn {
        name: name.to_owned(),
        type_name: String::new(),
        kind: ColumnKind::Text,
    };
    tables.begin_set(["a", "b", "c"].map(column).to_vec());
    for (seed, step) in steps.iter().enumerate() {
        match step {
            Step::Row(sizes) => {
                let cells: Vec<_> = sizes.iter().map(|size| size.map(|size| text(seed, size))).collect();
                assert!(tables.begin_row(cells.iter().flatten().map(Vec::len).sum()).await);
                for (index, cell) in cells.iter().enumerate() {
                    tables.cell(index, cell.as_deref());
                }
                tables.end_row().await;
                said.rows.push(cells);
            }
            Step::Copy(size) => {
                tables.output(&text(seed, *size)).await;
                said.copied.extend(text(seed, *size));
            }
            Step::Note => {
                tables.note(Level::Info, "a word".to_owned()).await;
                said.notes += 1;
            }
        }
    }
    tables.end_set().await;
    said
}

fn hear(chunks: &[pb::LogChunk], tally: &mut EventsTally) -> Heard {
    let mut heard = Heard::default();
    let mut joiner = Joiner::default();
    for chunk in chunks {
        let mut events = Vec::new();
        tally.add_chunk(chunk, |event| events.push(event)).unwrap();
        for body in events.into_iter().filter_map(|event| joiner.body(event.body)) {
            match body {
                EventBody::TableRows(rows) => {
                    for row in 0..rows.row_count as usize {
                        let cell = |column: &ColumnData| column.cells().nth(row).unwrap().map(<[u8]>::to_vec);
                        heard.rows.push(rows.columns.iter().map(cell).collect());
                    }
                }
                EventBody::Output { data, .. } => heard.copied.extend_from_slice(&data),
                EventBody::Note(_) => heard.notes += 1,
                EventBody::TableHeader(_) => heard.headers += 1,
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_said_is_what_is_heard(steps in vec(step(), 1..24)) {
        let sink = Arc::new(Sealing(Mutex::new((Encoder::new(AttemptId::new(), LEVEL), Vec::new()))));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let said = runtime.block_on(say(&steps, Arc::clone(&sink)));
        let mut sealing = sink.0.lock().unwrap();
        let last = sealing.0.seal();
        sealing.1.extend(last);
        let mut tally = EventsTally::default();
        prop_assert!(hear(&sealing.1, &mut tally) == said, "{steps:?}");
        prop_assert!(tally.equals(Some(&sealing.0.events_digest())));
    }
}
