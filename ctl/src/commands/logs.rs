//! `cloudctl logs TASK[/AGENT]`: what was said, stored first and then (with `-f`) live.

use std::collections::HashMap;

use clap::{Args, ValueHint};
use clap_complete::ArgValueCompleter;
use opslink::{
    chunk,
    event::{Event, EventBody},
    pb::{Execution, LogChunk, ReadLogRequest, read_log_request::Start},
};
use tonic::{Response, Status};

use crate::{
    app::App,
    commands::{
        completion,
        task::{
            self, get,
            look::{self, Wanted},
        },
    },
    connect::Client,
    exit::Exit,
    failure::Failure,
    follow::{self, End, Watch},
    patience,
    progress::Progress,
    render::Screen,
};

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Task (id, or its first characters), and one agent of it after a slash
    #[arg(value_name = "TASK[/AGENT]", add = ArgValueCompleter::new(completion::tasks_and_agents))]
    task: String,
    /// Go on with what comes, until the end of the task
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last N lines of each agent
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// Begin each line with its time (UTC)
    #[arg(long)]
    timestamps: bool,
    /// Show bytes as they are, also what a terminal would obey
    #[arg(long)]
    raw: bool,
    /// Also the attempts before the newest
    #[arg(long, conflicts_with = "tail")]
    all_attempts: bool,
    /// Write one file per agent and stream into this folder
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    output_dir: Option<std::path::PathBuf>,
    /// Show the same output of several agents once, with their names, at the end
    #[arg(long, conflicts_with_all = ["output_dir", "timestamps"])]
    fold: bool,
}

/// Runs `logs`.
pub(crate) async fn run(args: LogsArgs, app: &App) -> Result<Exit, Failure> {
    let (id, agent) = match args.task.split_once('/') {
        Some((id, agent)) => (id, Some(agent)),
        None => (args.task.as_str(), None),
    };
    let client = app.client().await?;
    let task = get::task(&client, id).await?;
    let rows = look::row_format(task::action(&task), &app.globals)?;
    look::check_fold(args.fold, rows)?;
    if let Some(folder) = &args.output_dir {
        std::fs::create_dir_all(folder).map_err(|error| {
            let path = folder.display().to_string();
            Failure::usage(
                "FOLDER_NOT_WRITABLE",
                &[("path", &path), ("detail", &error.to_string())],
            )
        })?;
    }
    let mut executions = get::executions(&client, &task.id).await?;
    if let Some(agent) = agent {
        executions.retain(|execution| execution.agent_name == agent || execution.agent_id == agent);
        if executions.is_empty() {
            return Err(Failure::local(
                Exit::NotFound,
                "NOT_A_TARGET",
                &[("agent", agent), ("task", id)],
            ));
        }
    }
    let agents = match agent {
        Some(_) => executions.iter().map(|execution| execution.agent_id.clone()).collect(),
        None => Vec::new(),
    };
    let wanted = Wanted {
        rows,
        many: executions.len() > 1,
        timestamps: args.timestamps,
        raw: args.raw,
        folder: args.output_dir,
        fold: args.fold,
        headers: !app.globals.no_headers,
        quiet: app.globals.quiet,
        name_width: executions
            .iter()
            .map(|execution| execution.agent_name.chars().count())
            .max()
            .unwrap_or_default(),
    };
    let mut screen = Screen::open(wanted.look()).map_err(|error| Failure::unexpected(&error.to_string()))?;
    let mut positions = HashMap::new();
    if let Some(lines) = args.tail {
        for execution in &executions {
            if let Some(next) = tail(&client, execution, lines, &mut screen).await? {
                positions.insert(execution.attempt_id.clone(), next);
            }
        }
    }
    let watch = Watch {
        task_id: task.id.clone(),
        agents,
        no_follow: !args.follow,
        all_attempts: args.all_attempts,
        no_output: false,
        positions,
    };
    let mut progress = Progress::new(task, executions);
    match follow::follow(&client, watch, &mut progress, screen, &mut ()).await? {
        End::Detached => Ok(Exit::Interrupted),
        End::Complete if args.follow => {
            progress.print_summary();
            Ok(progress.exit())
        }
        // The question was what was said, not how it went.
        End::Complete => Ok(Exit::Done),
    }
}

/// Shows the last lines of an execution; returns where the live output goes on.
async fn tail(client: &Client, execution: &Execution, lines: u64, screen: &mut Screen) -> Result<Option<u64>, Failure> {
    if execution.attempt_id.is_empty() {
        return Ok(None);
    }
    let request = ReadLogRequest {
        attempt_id: execution.attempt_id.clone(),
        start: Some(Start::TailLines(lines)),
        max_chunks: 0,
        decode: false,
    };
    // All of it at once: where its output is large, it may be refused in the middle.
    let read = async || {
        let mut stream = client.logs().read_log(request.clone()).await?.into_inner();
        let mut chunks: Vec<LogChunk> = Vec::new();
        while let Some(answer) = stream.message().await? {
            chunks.extend(answer.chunk);
        }
        Ok::<_, Status>(Response::new(chunks))
    };
    let chunks = patience::opened(read).await?;
    let Some(next) = chunks.last().map(chunk::next_seq) else {
        return Ok(Some(0));
    };
    let damaged = |error: &dyn std::fmt::Display| {
        Failure::local(Exit::Unexpected, "OUTPUT_DAMAGED", &[("detail", &error.to_string())])
    };
    let mut events = Vec::new();
    for chunk in &chunks {
        events.extend(chunk::decode(chunk).map_err(|error| damaged(&error))?);
    }
    let events = last_lines(events, lines);
    screen
        .events(&execution.agent_name, events.into_iter())
        .map_err(|error| damaged(&error))?;
    Ok(Some(next))
}

/// Cuts the output events down to the last `lines` lines of both streams together; other events stay.
fn last_lines(mut events: Vec<Event>, lines: u64) -> Vec<Event> {
    let mut left = lines;
    // The end of the output closes a line even without a line end.
    let mut at_end = true;
    for event in events.iter_mut().rev() {
        let EventBody::Output { data, .. } = &mut event.body else {
            continue;
        };
        if data.is_empty() {
            continue;
        }
        if left == 0 {
            data.clear();
            continue;
        }
        let mut end = data.len();
        if std::mem::take(&mut at_end) && data.last() == Some(&b'\n') {
            end -= 1;
        }
        let mut cut = 0;
        for at in memchr::memrchr_iter(b'\n', data.get(..end).unwrap_or_default()) {
            left -= 1;
            if left == 0 {
                cut = at + 1;
                break;
            }
        }
        let _ = data.split_to(cut);
    }
    events
}

#[cfg(test)]
mod tests {
    use opslink::event::Stream;

    use super::*;

    fn tail_of(parts: &[&str], lines: u64) -> String {
        let event = |part: &&str| Event {
            time_us: 0,
            body: EventBody::Output {
                stream: Stream::Stdout,
                data: (*part).to_owned().into(),
            },
        };
        let events = last_lines(parts.iter().map(event).collect(), lines);
        let text = |event: Event| match event.body {
            EventBody::Output { data, .. } => String::from_utf8(data.to_vec()).unwrap(),
            _ => String::new(),
        };
        events.into_iter().map(text).collect()
    }

    #[test]
    fn the_last_lines_are_cut_wherever_the_events_were_cut() {
        assert_eq!(tail_of(&["one\ntwo\nthr", "ee\n"], 1), "three\n");
        assert_eq!(tail_of(&["one\ntwo\nthr", "ee\n"], 2), "two\nthree\n");
        assert_eq!(tail_of(&["one\ntwo\nthr", "ee\n"], 9), "one\ntwo\nthree\n");
        assert_eq!(tail_of(&["one\ntwo\n", "open"], 1), "open");
        assert_eq!(tail_of(&["one\n", "\n", "\n"], 2), "\n\n");
        assert_eq!(tail_of(&["one\ntwo\n"], 0), "");
        assert_eq!(tail_of(&[], 3), "");
    }
}
