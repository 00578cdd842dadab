use std::sync::{Arc, Mutex};

use opslink::event::{ColumnData, ColumnKind, StatementEnd, TableColumn, TableHeader, TableRows};

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn look() -> Look {
    Look {
        many: false,
        timestamps: false,
        raw: false,
        rows: RowFormat::Csv,
        headers: true,
        name_width: 4,
        tty: PerStream::default(),
        color: PerStream::default(),
        quiet: false,
        folder: None,
        fold: false,
    }
}

fn screen(look: Look) -> (Screen, Memory, Memory) {
    let (out, err) = (Memory::default(), Memory::default());
    let sinks = PerStream {
        out: sink::sink(out.clone()),
        err: sink::sink(err.clone()),
    };
    (Screen::on(look, sinks), out, err)
}

fn output(stream: Stream, data: &[u8]) -> Event {
    Event {
        time_us: 1_763_800_000_123_456,
        body: EventBody::Output {
            stream,
            data: data.to_vec().into(),
        },
    }
}

fn body(body: EventBody) -> Event {
    Event { time_us: 0, body }
}

fn table(name: &str) -> Event {
    let column = TableColumn {
        name: name.into(),
        type_name: String::new(),
        kind: ColumnKind::Text,
    };
    body(EventBody::TableHeader(TableHeader {
        table: 0,
        statement: 0,
        columns: vec![column],
    }))
}

fn row(cell: &str) -> Event {
    let data = ColumnData {
        text: cell.to_owned().into(),
        lengths: vec![u32::try_from(cell.len()).unwrap() + 1],
    };
    body(EventBody::TableRows(TableRows {
        table: 0,
        row_count: 1,
        columns: vec![data],
    }))
}

fn statement_end() -> Event {
    body(EventBody::StatementEnd(StatementEnd {
        tag: "SELECT".into(),
        rows_returned: 1,
        ..Default::default()
    }))
}

#[test]
fn one_target_gets_its_bytes_untouched_and_apart() {
    let (mut screen, out, err) = screen(look());
    let bytes: Vec<u8> = (0..=255).collect();
    screen
        .events(
            "a",
            [output(Stream::Stdout, &bytes), output(Stream::Stderr, b"oops")].into_iter(),
        )
        .unwrap();
    screen.finish().unwrap();
    assert_eq!(*out.0.lock().unwrap(), bytes);
    assert_eq!(err.text(), "oops");
}

#[test]
fn a_terminal_sees_no_foreign_commands() {
    let (mut screen, out, _) = screen(Look {
        tty: PerStream { out: true, err: true },
        ..look()
    });
    screen
        .events(
            "a",
            [
                output(Stream::Stdout, b"\x1b[31mred\x1b[0m \x1b]0;x"),
                output(Stream::Stdout, b"\x07\n"),
            ]
            .into_iter(),
        )
        .unwrap();
    screen.finish().unwrap();
    assert_eq!(out.text(), "\x1b[31mred\x1b[0m ␛]0;x␇\n");
}

#[test]
fn an_open_line_is_closed_before_we_speak() {
    let (mut screen, out, err) = screen(Look {
        tty: PerStream { out: true, err: true },
        ..look()
    });
    screen
        .events("a", [output(Stream::Stdout, b"no newline")].into_iter())
        .unwrap();
    screen.finish().unwrap();
    assert_eq!((out.text().as_str(), err.text().as_str()), ("no newline", "\n"));
}

#[test]
fn many_targets_share_the_screen_line_by_line() {
    let (mut screen, out, err) = screen(Look { many: true, ..look() });
    screen
        .events("bj", [output(Stream::Stdout, b"one\ntw")].into_iter())
        .unwrap();
    screen
        .events(
            "shanghai",
            [output(Stream::Stdout, b"uno\n"), output(Stream::Stderr, b"mal\n")].into_iter(),
        )
        .unwrap();
    assert!(screen.is_waiting());
    screen
        .events("bj", [output(Stream::Stdout, b"o\nthree")].into_iter())
        .unwrap();
    screen.finish().unwrap();
    assert_eq!(out.text(), "bj   │ one\nshanghai │ uno\nbj   │ two\nbj   │ three\n");
    assert_eq!(err.text(), "shanghai │ mal\n");
}

#[test]
fn lines_can_say_their_time() {
    let (mut screen, out, _) = screen(Look {
        timestamps: true,
        ..look()
    });
    screen
        .events("a", [output(Stream::Stdout, b"one\ntwo\n")].into_iter())
        .unwrap();
    screen.finish().unwrap();
    assert_eq!(
        out.text(),
        "2025-11-22T08:26:40.123Z one\n2025-11-22T08:26:40.123Z two\n"
    );
}

#[test]
fn result_sets_are_apart_and_statements_speak_on_stderr() {
    let (mut screen, out, err) = screen(look());
    screen
        .events(
            "a",
            [
                table("x"),
                row("1"),
                statement_end(),
                table("y"),
                row("2"),
                statement_end(),
            ]
            .into_iter(),
        )
        .unwrap();
    screen.finish().unwrap();
    assert_eq!(out.text(), "x\n1\n\ny\n2\n");
    assert_eq!(err.text().lines().count(), 2);
    assert!(err.text().starts_with("SELECT · 1 row"), "{}", err.text());
}

#[test]
fn the_same_table_of_many_agents_is_one_csv() {
    let (mut screen, out, _) = screen(Look { many: true, ..look() });
    screen
        .events("bj", [table("x"), row("1"), statement_end()].into_iter())
        .unwrap();
    screen
        .events("sh", [table("x"), row("2"), statement_end()].into_iter())
        .unwrap();
    screen.finish().unwrap();
    assert_eq!(out.text(), "agent,x\nbj,1\nsh,2\n");
}

#[test]
fn json_of_an_empty_result_is_an_empty_array() {
    let (mut screen, out, _) = screen(Look {
        rows: RowFormat::Json,
        ..look()
    });
    screen.events("a", [table("x"), statement_end()].into_iter()).unwrap();
    screen.finish().unwrap();
    assert_eq!(out.text(), "[]\n");
}

#[test]
fn a_folder_gets_one_file_per_agent_and_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (mut screen, out, _) = screen(Look {
        many: true,
        folder: Some(folder.path().to_owned()),
        ..look()
    });
    screen
        .events(
            "bj",
            [output(Stream::Stdout, b"\0raw"), output(Stream::Stderr, b"e")].into_iter(),
        )
        .unwrap();
    screen
        .events("sh", [table("x"), row("2"), statement_end()].into_iter())
        .unwrap();
    screen.finish().unwrap();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!((read("bj.out"), read("bj.err")), (b"\0raw".to_vec(), b"e".to_vec()));
    assert_eq!(read("sh.out"), b"x\n2\n");
    assert_eq!(out.text(), "");
}

#[test]
fn a_chunk_that_overlaps_what_was_shown_adds_only_what_is_new() {
    let (mut screen, out, _) = screen(look());
    let attempt = opslink::id::AttemptId::new();
    let mut encoder = chunk::Encoder::new(attempt, chunk::LEVEL);
    for line in ["a\n", "b\n", "c\n"] {
        encoder.push(output(Stream::Stdout, line.as_bytes()));
    }
    let chunk = encoder.seal().unwrap();
    screen.chunk("x", &chunk, chunk.first_seq + 2).unwrap();
    screen.finish().unwrap();
    assert_eq!(out.text(), "c\n");
}

#[test]
fn what_many_say_alike_is_shown_once_with_their_names() {
    let (mut screen, out, err) = screen(Look {
        many: true,
        fold: true,
        ..look()
    });
    for agent in ["web-2", "db", "web-1"] {
        screen
            .events(agent, [output(Stream::Stdout, b"up 3 d")].into_iter())
            .unwrap();
    }
    // Where the bytes were cut says nothing.
    let parts = [output(Stream::Stdout, b"up "), output(Stream::Stdout, b"3 d")];
    screen.events("web-3", parts.into_iter()).unwrap();
    let odd = [
        output(Stream::Stdout, b"up 3 d\n"),
        output(Stream::Stderr, b"disk full\n"),
    ];
    screen.events("odd", odd.into_iter()).unwrap();
    assert_eq!(out.text(), "", "nothing before the end");
    screen.finish().unwrap();
    assert_eq!(
        out.text(),
        "── db, web-1, web-2, web-3 (4) ──\nup 3 d\n── odd ──\nup 3 d\n"
    );
    assert_eq!(err.text(), "── odd ──\ndisk full\n");
}

#[test]
fn what_a_few_say_otherwise_is_shown_as_its_difference() {
    let (mut screen, out, err) = screen(Look {
        many: true,
        fold: true,
        ..look()
    });
    let base: String = (0..30).map(|n| format!("package {n}\n")).collect();
    let odd = base.replace("package 15\n", "package 15.1\n");
    for (agent, text) in [("a", &base), ("b", &base), ("odd", &odd)] {
        screen
            .events(agent, [output(Stream::Stdout, text.as_bytes())].into_iter())
            .unwrap();
    }
    // Says the same, and something more.
    let more = [
        output(Stream::Stdout, base.as_bytes()),
        output(Stream::Stderr, b"one\ntwo\n"),
    ];
    screen.events("warns", more.into_iter()).unwrap();
    screen.finish().unwrap();
    let expected = format!(
        "── a, b (2) ──\n{base}── odd ──\n--- a, b (2)\n+++ odd\n@@ -13,7 +13,7 @@\n package 12\n package 13\n package \
         14\n-package 15\n+package 15.1\n package 16\n package 17\n package 18\n── warns ──\n(the same lines as the first \
         group)\n"
    );
    assert_eq!(out.text(), expected);
    assert_eq!(err.text(), "── warns ──\none\ntwo\n");
}

#[test]
fn what_is_too_large_to_be_compared_is_shown_whole() {
    let (mut screen, out, _) = screen(Look {
        many: true,
        fold: true,
        ..look()
    });
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let large = line.repeat(1100);
    for (agent, first) in [("a", "1\n"), ("b", "2\n")] {
        let parts = [output(Stream::Stdout, first.as_bytes()), output(Stream::Stdout, &large)];
        screen.events(agent, parts.into_iter()).unwrap();
    }
    screen.finish().unwrap();
    let text = out.text();
    assert!(text.contains("── b ──\n(more than 1 MiB: shown whole instead of compared)\n2\nxxx"));
    assert_eq!(text.len(), 2 * (large.len() + 2) + "── a ──\n── b ──\n".len() + 51);
}

#[test]
fn folded_output_that_is_larger_than_memory_is_whole() {
    let (mut screen, out, _) = screen(Look {
        many: true,
        fold: true,
        ..look()
    });
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    for agent in ["a", "b"] {
        for _ in 0..1024 {
            screen
                .events(agent, [output(Stream::Stdout, &line)].into_iter())
                .unwrap();
        }
    }
    screen.finish().unwrap();
    assert_eq!(
        out.text(),
        format!("── a, b (2) ──\n{}", String::from_utf8(line.repeat(1024)).unwrap())
    );
}

#[test]
fn folded_rows_have_their_header_and_no_agent() {
    let (mut screen, out, _) = screen(Look {
        many: true,
        fold: true,
        ..look()
    });
    for agent in ["a", "b"] {
        screen.events(agent, [table("n")].into_iter()).unwrap();
    }
    screen.finish().unwrap();
    assert_eq!(out.text(), "── a, b (2) ──\nn\n");
}
