//! `cloudctl task …`: what was run.

mod cancel;
pub(crate) mod get;
mod list;
pub(crate) mod look;
mod retry;
mod watch;

use clap::Subcommand;
use opslink::{
    pb::{self, Execution, Task, task_spec::Action},
    task::{ExecutionState, TaskState},
};

use crate::{
    app::App,
    exit::Exit,
    failure::Failure,
    output::{self, Column},
    progress,
    text::text,
};

/// Verbs of `task`.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// List tasks, newest first
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show a task and its targets
    Get(get::GetArgs),
    /// Watch the states of a task until its end
    Watch(watch::WatchArgs),
    /// Ask for an end: queued targets never start, running ones get TERM, then KILL
    Cancel(cancel::CancelArgs),
    /// Run again what did not succeed, and watch it
    Retry(retry::RetryArgs),
}

/// Runs a verb.
pub(crate) async fn run(command: TaskCommand, app: &App) -> Result<Exit, Failure> {
    match command {
        TaskCommand::List(args) => list::run(args, app).await,
        TaskCommand::Get(args) => get::run(args, app).await,
        TaskCommand::Watch(args) => watch::run(args, app).await,
        TaskCommand::Cancel(args) => cancel::run(args, app).await,
        TaskCommand::Retry(args) => retry::run(args, app).await,
    }
}

/// Columns of a list of tasks.
pub(crate) fn columns() -> [Column<Task>; 9] {
    [
        Column::new("ID", |task| progress::short(&task.id).to_owned()),
        Column::new("STATE", |task: &Task| output::task_state(task.state).to_owned()).people(state),
        Column::new("WHAT", what),
        Column::new("TARGETS", |task: &Task| targets(task, |state| state.word().to_owned()))
            .people(|task| targets(task, |state| output::state(state.word()))),
        Column::new("BY", |task| task.created_by.clone()),
        Column::new("AGE", |task| output::ago(&task.created_at)),
        Column::new("TOOK", |task| {
            progress::task_duration(task).map_or_else(|| "–".to_owned(), crate::duration::show)
        }),
        Column::wide("REASON", |task| task.reason.clone()),
        Column::wide("FULL ID", |task| task.id.clone()),
    ]
}

/// Columns of a list of executions.
pub(crate) fn execution_columns() -> [Column<Execution>; 7] {
    [
        Column::new("AGENT", |execution| execution.agent_name.clone()),
        Column::new("STATE", |execution: &Execution| {
            progress::state(execution).word().to_owned()
        })
        .people(|execution| output::state(progress::state(execution).word())),
        Column::new("EXIT", |execution| {
            let code = execution.outcome.as_ref().and_then(|outcome| outcome.exit_code);
            code.map_or_else(|| "–".to_owned(), |code| code.to_string())
        }),
        Column::new("ATTEMPT", |execution| execution.attempt_number.to_string()),
        Column::new("STARTED", |execution| output::time(&execution.started_at)),
        Column::new("OUTPUT", |execution: &Execution| verified(execution).1.to_owned()).people(|execution| {
            let (key, word) = verified(execution);
            if key.is_empty() {
                word.to_owned()
            } else {
                text(key, &[])
            }
        }),
        Column::new("MESSAGE", |execution| {
            execution
                .outcome
                .as_ref()
                .map(|outcome| outcome.message.clone())
                .unwrap_or_default()
        }),
    ]
}

/// Columns of what a dry run found: nothing was dispatched, so no state is shown.
pub(crate) fn dry_run_columns() -> [Column<Execution>; 2] {
    let would = |execution: &Execution| match progress::state(execution) {
        ExecutionState::Held => text("dry-held", &[]),
        ExecutionState::Queued => text("dry-queued", &[]),
        // A cloud answers with the states that a task begins with, and this is the third.
        ExecutionState::Dispatched
        | ExecutionState::Running
        | ExecutionState::Succeeded
        | ExecutionState::Failed
        | ExecutionState::TimedOut
        | ExecutionState::Canceled
        | ExecutionState::Refused
        | ExecutionState::Expired
        | ExecutionState::Lost => text("dry-dispatched", &[]),
    };
    [
        Column::new("AGENT", |execution| execution.agent_name.clone()),
        Column::new("WOULD", would),
    ]
}

/// Says for people how a task is, and that somebody asked for its end before it came.
fn state(task: &Task) -> String {
    let word = output::state(output::task_state(task.state));
    if task.cancel_requested && !matches!(task.state(), pb::TaskState::Canceled) {
        text("state-cancel-requested", &[("state", &word)])
    } else {
        word
    }
}

/// The sentence and the word about the comparison of the output.
fn verified(execution: &Execution) -> (&'static str, &'static str) {
    let ended = progress::state(execution).is_terminal() && execution.outcome.is_some();
    match (execution.output_verified, ended) {
        (true, _) => ("output-verified", "verified"),
        (false, true) => ("output-not-verified", "not verified"),
        (false, false) => ("", "–"),
    }
}

/// Returns what a task does, when the cloud said it.
pub(crate) fn action(task: &Task) -> Option<&Action> {
    task.spec.as_ref().and_then(|spec| spec.action.as_ref())
}

/// Says in one line what a task does.
pub(crate) fn what(task: &Task) -> String {
    let full = match action(task) {
        Some(Action::Shell(shell)) if !shell.script_name.is_empty() => format!("shell: {}", shell.script_name),
        Some(Action::Shell(shell)) => format!("shell: {}", shell.argv.join(" ")),
        Some(Action::Sql(sql)) if !sql.script_name.is_empty() => format!("sql: {}", sql.script_name),
        Some(Action::Sql(sql)) => {
            let text = String::from_utf8_lossy(&sql.script);
            format!("sql: {}", text.split_whitespace().collect::<Vec<_>>().join(" "))
        }
        Some(Action::Fake(_)) => "fake".to_owned(),
        None => "–".to_owned(),
    };
    match full.char_indices().nth(48) {
        Some((at, _)) => format!("{}…", full.get(..at).unwrap_or_default()),
        None => full,
    }
}

/// Says how many targets there are, and how many of them are in which state other than success.
fn targets(task: &Task, word: fn(ExecutionState) -> String) -> String {
    let total: u32 = task.counts.iter().map(|count| count.count).sum();
    let others: Vec<String> = task
        .counts
        .iter()
        .filter(|count| count.count > 0)
        .filter_map(|count| {
            let state = ExecutionState::try_from(count.state()).ok()?;
            (state != ExecutionState::Succeeded).then(|| format!("{} {}", count.count, word(state)))
        })
        .collect();
    if others.is_empty() {
        total.to_string()
    } else {
        format!("{total} ({})", others.join(", "))
    }
}

/// Says whether a task is at its end.
fn is_finished(task: &Task) -> bool {
    TaskState::try_from(task.state()).is_ok_and(TaskState::is_terminal)
}

#[cfg(test)]
mod tests {
    use opslink::pb::{ShellSpec, SqlSpec, StateCount, TaskSpec};

    use super::*;

    fn task(action: Action) -> Task {
        Task {
            spec: Some(TaskSpec {
                action: Some(action),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_task_says_what_it_does_in_one_short_line() {
        let argv = vec!["sh".into(), "-c".into(), "上".repeat(100)];
        let long = what(&task(Action::Shell(ShellSpec {
            argv,
            ..Default::default()
        })));
        assert_eq!(long.chars().count(), 49);
        let sql = SqlSpec {
            script: "select\n  1;".into(),
            ..Default::default()
        };
        assert_eq!(what(&task(Action::Sql(sql))), "sql: select 1;");
    }

    #[test]
    fn a_task_says_that_its_end_was_asked_for() {
        let mut running = Task {
            state: pb::TaskState::Running.into(),
            ..Default::default()
        };
        assert_eq!(state(&running), "running");
        running.cancel_requested = true;
        assert_eq!(state(&running), "running, cancel requested");
        running.state = pb::TaskState::Canceled.into();
        assert_eq!(state(&running), "canceled");
    }

    #[test]
    fn a_dry_run_shows_no_state() {
        for (state, would) in [
            (pb::ExecutionState::Dispatched, "start at once"),
            (pb::ExecutionState::Queued, "wait in its queue"),
            (pb::ExecutionState::Held, "wait for its turn"),
        ] {
            let execution = Execution {
                state: state.into(),
                ..Default::default()
            };
            let [_, column] = dry_run_columns();
            assert_eq!((column.header, (column.cell)(&execution)), ("WOULD", would.to_owned()));
        }
    }

    #[test]
    fn targets_say_what_did_not_go_well() {
        let count = |state: pb::ExecutionState, count| StateCount {
            state: state.into(),
            count,
        };
        let counts = vec![
            count(pb::ExecutionState::Succeeded, 2),
            count(pb::ExecutionState::Failed, 1),
        ];
        let mut some = Task {
            counts,
            ..Default::default()
        };
        let targets = |task: &Task| targets(task, |state| state.word().to_owned());
        assert_eq!(targets(&some), "3 (1 failed)");
        some.counts.pop();
        assert_eq!(targets(&some), "2");
    }
}
