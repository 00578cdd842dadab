//! Tests of [`super`].

use bytes::Bytes;

use super::*;

fn output(stream: Stream, text: &str) -> Event {
    Event {
        time_us: 1,
        body: EventBody::Output {
            stream,
            data: Bytes::from(text.to_owned()),
        },
    }
}

fn end() -> Event {
    Event {
        time_us: 2,
        body: EventBody::End(Outcome {
            state: opslink::task::ExecutionState::Succeeded,
            exit_code: Some(0),
            signal: None,
            reason: String::new(),
            message: String::new(),
            streams: Vec::new(),
            started_time_us: 0,
            finished_time_us: 1,
            events: None,
        }),
    }
}

fn texts(lines: &Lines) -> Vec<(Option<u64>, &str)> {
    lines.iter().map(|line| (line.number, line.text.as_str())).collect()
}

#[test]
fn lines_are_put_together_from_pieces() {
    let mut lines = Lines::default();
    for piece in ["he", "llo\nwor", "ld\n", "tail"] {
        lines.push(&output(Stream::Stdout, piece));
    }
    assert_eq!(texts(&lines), [(Some(0), "hello"), (Some(1), "world"), (None, "tail")]);
}

#[test]
fn streams_do_not_mix() {
    let mut lines = Lines::default();
    lines.push(&output(Stream::Stdout, "out-"));
    lines.push(&output(Stream::Stderr, "err\n"));
    lines.push(&output(Stream::Stdout, "put\n"));
    assert_eq!(texts(&lines), [(Some(0), "err"), (Some(1), "out-put")]);
}

#[test]
fn numbers_are_in_order_beside_a_progress_bar() {
    let mut lines = Lines::default();
    let pieces = [
        (Stream::Stderr, "10%\r"),
        (Stream::Stdout, "one\n"),
        (Stream::Stdout, "tw"),
        (Stream::Stderr, "20%\r"),
        (Stream::Stdout, "o\n"),
    ];
    for (at, (stream, text)) in (1..).zip(pieces) {
        let mut event = output(stream, text);
        event.time_us = at;
        lines.push(&event);
    }
    assert_eq!(texts(&lines), [(Some(0), "one"), (Some(1), "two"), (None, "20%")]);
    lines.push(&output(Stream::Stderr, "100%\r\n"));
    lines.push(&output(Stream::Stdout, "three\n"));
    let numbers: Vec<_> = lines.iter().filter_map(|line| line.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    // Lines of several agents are put in order by time: none may stand before the one above it.
    assert!(lines.iter().is_sorted_by_key(|line| line.time_us));
}

#[test]
fn the_last_line_has_a_number_when_nothing_more_can_come() {
    let mut lines = Lines::default();
    lines.push(&output(Stream::Stdout, "a\nno end"));
    assert_eq!(texts(&lines), [(Some(0), "a"), (None, "no end")]);
    lines.push(&end());
    assert_eq!(texts(&lines), [(Some(0), "a"), (Some(1), "no end"), (None, "")]);
}

#[test]
fn a_line_keeps_its_place_whatever_goes_or_comes_before_it() {
    let mut lines = Lines::from_line(10);
    lines.push(&output(Stream::Stdout, "x\nten\neleven\ntwelve\nop"));
    let place = lines.first_place() + 2;
    assert_eq!(lines.at(place).unwrap().text, "eleven");
    lines.drop_front(2);
    assert_eq!(lines.at(place).unwrap().text, "eleven");
    assert_eq!(lines.at(place - 1), None);
    let mut early = Lines::from_line(0);
    early.push(&output(Stream::Stdout, &"early\n".repeat(20)));
    lines.prepend(early);
    lines.push(&output(Stream::Stdout, "en\n"));
    assert_eq!(lines.at(place).unwrap().text, "eleven");
    assert_eq!(lines.at(place + 2).unwrap().text, "open");
    assert_eq!(lines.at(lines.first_place() - 1), None);
}

#[test]
fn a_letter_cut_in_two_is_one_letter() {
    let mut lines = Lines::default();
    let letter = "界".as_bytes();
    for bytes in [&letter[..1], &letter[1..]] {
        lines.push(&Event {
            time_us: 1,
            body: EventBody::Output {
                stream: Stream::Stdout,
                data: Bytes::copy_from_slice(bytes),
            },
        });
    }
    assert_eq!(texts(&lines), [(None, "界")]);
}

#[test]
fn a_progress_bar_is_one_line() {
    let mut lines = Lines::default();
    for piece in ["10%\r", "20%\r", "100%\r\n", "done\r", "\n"] {
        lines.push(&output(Stream::Stdout, piece));
    }
    assert_eq!(texts(&lines), [(Some(0), "100%"), (Some(1), "done")]);
}

#[test]
fn a_line_without_end_does_not_fill_the_memory() {
    let mut lines = Lines::default();
    for _ in 0..100 {
        lines.push(&output(Stream::Stdout, &"x".repeat(10_000)));
    }
    let line = lines.at(0).unwrap();
    assert_eq!(
        (lines.len(), line.text.len(), line.cut),
        (1, LINE_BYTES, 1_000_000 - LINE_BYTES)
    );
}

#[test]
fn colour_goes_on_in_the_next_line() {
    let mut lines = Lines::default();
    lines.push(&output(Stream::Stdout, "\u{1b}[31mred\nstill\n\u{1b}[0mplain\nplain\n"));
    let styles: Vec<_> = lines.iter().map(|line| line.style.foreground).collect();
    assert_eq!(styles, [None, Some(1), Some(1), None]);
}

#[test]
fn empty_lines_count() {
    let mut lines = Lines::default();
    lines.push(&output(Stream::Stdout, "\n\na\n"));
    assert_eq!(texts(&lines), [(Some(0), ""), (Some(1), ""), (Some(2), "a")]);
}

#[test]
fn an_open_line_survives_dropping() {
    let mut lines = Lines::default();
    lines.push(&output(Stream::Stdout, "a\nb\nop"));
    lines.drop_front(2);
    lines.push(&output(Stream::Stdout, "en\nc\n"));
    assert_eq!(texts(&lines), [(Some(2), "open"), (Some(3), "c")]);
    lines.drop_front(2);
    lines.push(&output(Stream::Stdout, "d\n"));
    assert_eq!((texts(&lines), lines.bytes()), (vec![(Some(4), "d")], 1));
}

#[test]
fn earlier_lines_join_seamlessly() {
    let mut late = Lines::from_line(1);
    late.push(&output(Stream::Stdout, "rld\nend\nop"));
    let mut early = Lines::from_line(0);
    early.push(&output(Stream::Stdout, "hello\nworld\nend\n"));
    late.prepend(early);
    late.push(&output(Stream::Stdout, "en\n"));
    assert_eq!(
        texts(&late),
        [
            (Some(0), "hello"),
            (Some(1), "world"),
            (Some(2), "end"),
            (Some(3), "open")
        ]
    );
    assert_eq!(late.first_number(), Some(0));
}
