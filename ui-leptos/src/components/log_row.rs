//! One row of output: text nodes in spans, nothing else.

use leptos::{ev, prelude::*};
use opslink::event::{Level, Stream};

use super::icon::Icon;
use crate::{
    dom,
    i18n::{Arg, t, ta},
    logic::{
        format,
        lines::{Kind, Line},
        sgr::{self, Span},
        taskview,
        window::Source,
    },
};

/// Letters of a line shown when lines are not wrapped.
pub(crate) const SHOWN: usize = 1_200;

/// How rows look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Name the agent before the line.
    pub agents: bool,
    /// Show when the line was written.
    pub times: bool,
    /// Show line numbers.
    pub numbers: bool,
}

/// The words of a line that is no output.
pub(crate) fn words(line: &Line) -> String {
    match &line.kind {
        Kind::Output(_) | Kind::Note(_) => line.text.clone(),
        Kind::Gap(bytes) => ta("log-gap", &[("size", Arg::from(format::bytes(*bytes)))]),
        Kind::Statement(at) => ta(
            "log-statement",
            &[("line", Arg::from(*at)), ("text", Arg::from(line.text.clone()))],
        ),
        Kind::StatementEnd(end) => {
            let took = format::duration_us(i64::try_from(end.elapsed_us).unwrap_or(i64::MAX));
            match (&end.error, end.rows_affected) {
                (Some(error), _) => ta(
                    "log-statement-failed",
                    &[
                        ("text", Arg::from(line.text.clone())),
                        ("line", Arg::from(error.line)),
                        ("column", Arg::from(error.column)),
                        ("took", Arg::from(took)),
                    ],
                ),
                (None, Some(rows)) if end.rows_returned == 0 => ta(
                    "log-statement-affected",
                    &[
                        ("tag", Arg::from(end.tag.clone())),
                        ("count", Arg::from(format::count(rows))),
                        ("took", Arg::from(took)),
                    ],
                ),
                (None, _) => ta(
                    "log-statement-rows",
                    &[
                        ("tag", Arg::from(end.tag.clone())),
                        ("count", Arg::from(format::count(end.rows_returned))),
                        ("took", Arg::from(took)),
                    ],
                ),
            }
        }
        Kind::End(outcome) => {
            let state = t(&format!("state-{}", outcome.state.word().replace('_', "-")));
            let took = format::duration_us(outcome.finished_time_us - outcome.started_time_us);
            let mut text = ta("log-end", &[("state", Arg::from(state)), ("took", Arg::from(took))]);
            if let Some(code) = outcome.exit_code.filter(|code| *code != 0) {
                text.push_str(&format!(" · {}", ta("exit-code", &[("code", Arg::from(code))])));
            }
            if let Some(signal) = outcome.signal {
                text.push_str(&format!(" · {}", ta("signal", &[("signal", Arg::from(signal))])));
            }
            // The code says it all, in any language.
            if !line.text.is_empty() && outcome.exit_code.is_none() {
                text.push_str(&format!(" · {}", line.text));
            }
            text
        }
    }
}

fn class(kind: &Kind) -> &'static str {
    match kind {
        Kind::Output(Stream::Stdout) => "log-row",
        Kind::Output(Stream::Stderr) => "log-row log-stderr",
        Kind::Note(Level::Info) | Kind::Statement(_) => "log-row log-note",
        Kind::Note(Level::Warning) | Kind::Gap(_) => "log-row log-note log-warning",
        Kind::Note(Level::Error) => "log-row log-note log-error",
        Kind::StatementEnd(end) if end.error.is_some() => "log-row log-note log-error",
        Kind::StatementEnd(_) => "log-row log-note",
        Kind::End(outcome) if outcome.state == opslink::task::ExecutionState::Succeeded => "log-row log-end log-good",
        Kind::End(_) => "log-row log-end log-error",
    }
}

fn icon(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Output(_) => None,
        Kind::Note(Level::Info) => Some("info"),
        Kind::Note(Level::Warning | Level::Error) | Kind::Gap(_) => Some("warning"),
        Kind::Statement(_) => Some("chevron"),
        Kind::StatementEnd(end) if end.error.is_some() => Some("failed"),
        Kind::StatementEnd(_) => Some("check"),
        Kind::End(outcome) => Some(outcome.state.word()),
    }
}

/// A stable tint for an agent, of colours that mean no state.
pub(crate) fn tint(agent: &str) -> usize {
    agent
        .bytes()
        .fold(5_381_usize, |hash, byte| hash.wrapping_mul(33) ^ usize::from(byte))
        % 6
}

/// What is wanted of a row beside its line.
pub(crate) struct Place {
    /// Piece of the line, as byte range of its plain text; the first piece has the prefix.
    pub piece: Option<(usize, usize)>,
    /// Not the first piece of a wrapped line.
    pub continued: bool,
    /// Text searched for.
    pub needle: String,
    /// The hit that the person is at.
    pub current: bool,
    /// One of the lines that the URL marks.
    pub marked: bool,
    /// What a link to the line has behind the path; nothing for what has no number.
    pub link: Option<String>,
}

/// What a row can ask for.
#[derive(Clone, Copy)]
pub(crate) struct Wishes {
    /// Show the whole of a long line.
    pub expand: Callback<String>,
    /// Mark this line of this attempt (agent, attempt id, line, extend).
    pub mark: Callback<(String, String, u64, bool)>,
}

/// A row.
pub(crate) fn row(source: &Source, line: &Line, look: Look, place: &Place, wishes: Wishes) -> AnyView {
    let text = words(line);
    let mut style = line.style;
    let spans = sgr::parse(&text, &mut style);
    let length: usize = spans.iter().map(|span| span.text.len()).sum();
    let (start, end) = place.piece.unwrap_or((0, length));
    let shown_end = if place.piece.is_none() { cut(&spans, SHOWN) } else { end };
    let pieces: Vec<AnyView> = slice(&spans, start, shown_end.min(end))
        .into_iter()
        .map(|span| piece(&span, &place.needle))
        .collect();
    let more = (length - shown_end.min(length)) + line.cut;
    let is_last = place.piece.is_none() || end == length;
    let full = text.clone();
    let prefix = (!place.continued).then(|| {
        let agent = source.agent.clone();
        let number = line.number.map(|number| format::count(number + 1)).unwrap_or_default();
        view! {
            {look.times.then(|| view! { <span class="log-time">{dom::local_clock(line.time_us)}</span> })}
            {look.numbers.then(|| link(source, line, place, wishes, "log-number".into(), number))}
            {look.agents.then(|| link(source, line, place, wishes, format!("log-agent tint-{}", tint(&agent)), agent.clone()))}
        }
    });
    view! {
        <div class=class(&line.kind) class:log-continued=place.continued class:log-current=place.current class:log-mark=place.marked data-state=match &line.kind { Kind::End(outcome) => Some(outcome.state.word()), _ => None }>
            {prefix}
            {icon(&line.kind).filter(|_| !place.continued).map(|name| view! { <Icon name=name /> })}
            {matches!(line.kind, Kind::Output(Stream::Stderr)).then(|| view! { <span class="sr-only">"stderr "</span> })}
            <span class="log-text">{line.fragment.then_some("…")}{pieces}</span>
            {(more > 0 && is_last).then(|| view! {
                <button type="button" class="log-more" on:click=move |_| wishes.expand.run(full.clone())>{ta("log-more", &[("size", Arg::from(format::bytes(more as u64)))])}</button>
            })}
        </div>
    }
    .into_any()
}

/// The number of a line, or the agent before it: a link to the line. It is left out of the way of the tab key, for
/// there are thousands of them: keys of the log do the same.
fn link(source: &Source, line: &Line, place: &Place, wishes: Wishes, class: String, text: String) -> AnyView {
    let (Some(number), Some(link)) = (line.number, place.link.clone()) else {
        return view! { <span class=class>{text}</span> }.into_any();
    };
    let (agent, attempt_id) = (source.agent.clone(), source.attempt_id.clone());
    let click = move |event: ev::MouseEvent| {
        // With these keys the browser opens the link itself, elsewhere.
        if event.ctrl_key() || event.meta_key() {
            return;
        }
        event.prevent_default();
        let wish = (agent.clone(), attempt_id.clone(), number + 1, event.shift_key());
        wishes.mark.run(wish);
    };
    // Shift would select text.
    let press = |event: ev::MouseEvent| {
        if event.shift_key() {
            event.prevent_default();
        }
    };
    view! { <a class=class href=link tabindex="-1" on:click=click on:mousedown=press>{text}</a> }.into_any()
}

/// Byte place after so many letters.
fn cut(spans: &[Span<'_>], letters: usize) -> usize {
    let mut left = letters;
    let mut bytes = 0;
    for span in spans {
        match span.text.char_indices().nth(left) {
            Some((at, _)) => return bytes + at,
            None => left -= span.text.chars().count(),
        }
        bytes += span.text.len();
    }
    bytes
}

/// The spans between two places of the plain text.
fn slice<'a>(spans: &[Span<'a>], start: usize, end: usize) -> Vec<Span<'a>> {
    let mut at = 0;
    let mut out = Vec::new();
    for span in spans {
        let (from, to) = (start.max(at), end.min(at + span.text.len()));
        if from < to
            && let Some(text) = span.text.get(from - at..to - at)
        {
            out.push(Span {
                style: span.style,
                text,
            });
        }
        at += span.text.len();
    }
    out
}

fn piece(span: &Span<'_>, needle: &str) -> AnyView {
    let classes = span.style.classes();
    if needle.is_empty() {
        return if classes.is_empty() {
            span.text.to_owned().into_any()
        } else {
            view! { <span class=classes>{span.text.to_owned()}</span> }.into_any()
        };
    }
    let parts = marked(span.text, needle)
        .into_iter()
        .map(|(text, hit)| {
            if hit {
                view! { <mark>{text}</mark> }.into_any()
            } else {
                text.into_any()
            }
        })
        .collect_view();
    view! { <span class=classes>{parts}</span> }.into_any()
}

/// Cuts text at the hits of a search.
fn marked(text: &str, needle: &str) -> Vec<(String, bool)> {
    let exact = needle.chars().any(char::is_uppercase);
    let hay = if exact {
        text.to_owned()
    } else {
        text.to_ascii_lowercase()
    };
    let needle = if exact {
        needle.to_owned()
    } else {
        needle.to_ascii_lowercase()
    };
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, hit) in hay.match_indices(&needle) {
        let end = at + hit.len();
        if let (Some(before), Some(hit)) = (text.get(from..at), text.get(at..end)) {
            parts.push((before.to_owned(), false));
            parts.push((hit.to_owned(), true));
            from = end;
        }
    }
    parts.push((text.get(from..).unwrap_or_default().to_owned(), false));
    parts
}

/// The word of an outcome, for lists.
pub(crate) fn outcome_words(execution: &opslink::pb::Execution) -> String {
    let Some(outcome) = &execution.outcome else {
        return String::new();
    };
    if !taskview::is_over(execution.state()) {
        return String::new();
    }
    match (outcome.exit_code, outcome.signal) {
        (Some(0), _) | (None, 0) => String::new(),
        (Some(code), _) => ta("exit-code", &[("code", Arg::from(code))]),
        (None, signal) => ta("signal", &[("signal", Arg::from(signal))]),
    }
}
