//! `cloudctl task list`.

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use opslink::pb::{ListTasksRequest, TaskState};

use crate::{
    app::App,
    commands::{completion, pages, task},
    exit::Exit,
    failure::Failure,
};

/// State to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Nothing has started.
    Pending,
    /// Something is not at its end.
    Running,
    /// Every target succeeded.
    Succeeded,
    /// Something went wrong.
    Failed,
    /// Somebody asked for the end.
    Canceled,
}

/// Arguments of `task list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only tasks on this agent (name or id)
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true,
          add = ArgValueCompleter::new(completion::agents))]
    agent: String,
    /// Only tasks in this state; repeatable, or separated by commas
    #[arg(short, long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<State>,
    /// How many, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// Runs `task list`.
pub(super) async fn run(args: ListArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let states: Vec<i32> = args.states.iter().map(|state| wire(*state).into()).collect();
    let page_size = i32::try_from(args.limit.min(1_000)).unwrap_or(1_000);
    let tasks = pages::collect(args.limit, |page_token| {
        let mut tasks = client.tasks();
        let request = ListTasksRequest {
            page_size,
            page_token,
            agent: args.agent.clone(),
            states: states.clone(),
        };
        async move {
            let page = tasks.list_tasks(request).await?.into_inner();
            Ok((page.tasks, page.next_page_token))
        }
    })
    .await?;
    app.listing().list(&tasks, |task| task.id.clone(), &task::columns())?;
    Ok(Exit::Done)
}

const fn wire(state: State) -> TaskState {
    match state {
        State::Pending => TaskState::Pending,
        State::Running => TaskState::Running,
        State::Succeeded => TaskState::Succeeded,
        State::Failed => TaskState::Failed,
        State::Canceled => TaskState::Canceled,
    }
}
