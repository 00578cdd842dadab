//! `cloudctl task cancel TASK`.

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::{self, CancelTaskRequest, Task};

use crate::{
    app::App,
    commands::{
        completion,
        task::{self, get},
    },
    exit::Exit,
    failure::Failure,
    output::Format,
    progress, terminal,
    text::text,
};

/// Arguments of `task cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// Id, or its first characters
    #[arg(add = ArgValueCompleter::new(completion::tasks))]
    task: String,
    /// Only on these agents; repeatable, or separated by commas
    #[arg(short, long = "agent", value_name = "NAME", value_delimiter = ',', add = ArgValueCompleter::new(completion::agents))]
    agents: Vec<String>,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Runs `task cancel`.
pub(super) async fn run(args: CancelArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let listing = app.listing();
    // Only people are told what the cancel changed.
    let before = if listing.format == Format::Table {
        Some(get::task(&client, &args.task).await?)
    } else {
        None
    };
    let request = CancelTaskRequest {
        id: args.task,
        agents: args.agents,
        reason: args.reason,
    };
    let task = client
        .tasks()
        .cancel_task(request)
        .await?
        .into_inner()
        .task
        .unwrap_or_default();
    match before {
        Some(before) => terminal::say(&told(&before, &task)),
        None => listing.object(&task, |task| task.id.clone(), &task::columns())?,
    }
    Ok(Exit::Done)
}

/// Says what came of a cancel, out of the task before and after it. What waited ends with the very call; what ran ends when
/// its agent says so.
fn told(before: &Task, after: &Task) -> String {
    let id = progress::short(&after.id);
    let was_canceled = after.state() == pb::TaskState::Canceled || after.cancel_requested && !before.cancel_requested;
    match (task::is_finished(before), task::is_finished(after)) {
        (false, true) if was_canceled => text("task-canceled", &[("id", id)]),
        // Or it came to its end on its own between the two questions.
        (true, _) | (false, true) => text("task-already-over", &[("id", id)]),
        (false, false) if after.cancel_requested => text(
            "task-cancel-asked",
            &[("id", id), ("watch", &format!("cloudctl task watch {id}"))],
        ),
        (false, false) => text("task-nothing-to-cancel", &[("id", id)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(state: pb::TaskState, cancel_requested: bool) -> Task {
        Task {
            id: "0192f0c1-aaaa".to_owned(),
            state: state.into(),
            cancel_requested,
            ..Task::default()
        }
    }

    #[test]
    fn a_cancel_says_what_came_of_it_and_nothing_else() {
        use pb::TaskState as S;
        for (before, after, words) in [
            ((S::Pending, false), (S::Canceled, true), "is canceled"),
            ((S::Running, false), (S::Failed, true), "is canceled"),
            ((S::Running, false), (S::Running, true), "was asked for"),
            ((S::Running, true), (S::Running, true), "was asked for"),
            ((S::Running, false), (S::Running, false), "waits or runs"),
            ((S::Running, false), (S::Succeeded, false), "was over already"),
            ((S::Succeeded, false), (S::Succeeded, false), "was over already"),
            ((S::Canceled, true), (S::Canceled, true), "was over already"),
        ] {
            let said = told(&task(before.0, before.1), &task(after.0, after.1));
            assert!(said.contains(words), "{before:?} {after:?}: {said}");
        }
    }
}
