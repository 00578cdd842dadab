//! `cloudctl task get TASK`: the task, then its targets.

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::{Execution, GetTaskRequest, ListExecutionsRequest, Task};
use serde::Serialize;

use crate::{
    app::App,
    commands::{completion, pages, task},
    connect::Client,
    exit::Exit,
    failure::Failure,
    output::{self, Format},
};

/// Arguments of `task get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Id, or its first characters
    #[arg(add = ArgValueCompleter::new(completion::tasks))]
    task: String,
}

#[derive(Serialize)]
struct Whole {
    task: Task,
    executions: Vec<Execution>,
}

/// Runs `task get`.
pub(super) async fn run(args: GetArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let task = task(&client, &args.task).await?;
    let executions = executions(&client, &task.id).await?;
    let listing = app.listing();
    match listing.format {
        Format::Table | Format::Wide => {
            listing.object(&task, |task| task.id.clone(), &task::columns())?;
            output::print(b"\n")?;
            listing.list(
                &executions,
                |execution| execution.agent_name.clone(),
                &task::execution_columns(),
            )?;
        }
        Format::Csv | Format::Tsv | Format::Name => {
            listing.list(
                &executions,
                |execution| execution.agent_name.clone(),
                &task::execution_columns(),
            )?;
        }
        Format::Json | Format::Jsonl | Format::Yaml => {
            listing.object(&Whole { task, executions }, |whole| whole.task.id.clone(), &[])?;
        }
    }
    Ok(Exit::Done)
}

/// Finds a task by its id or the beginning of it.
pub(crate) async fn task(client: &Client, id: &str) -> Result<Task, Failure> {
    let answer = client
        .tasks()
        .get_task(GetTaskRequest { id: id.to_owned() })
        .await?
        .into_inner();
    Ok(answer.task.unwrap_or_default())
}

/// Reads every execution of a task.
pub(crate) async fn executions(client: &Client, task_id: &str) -> Result<Vec<Execution>, Failure> {
    pages::collect(usize::MAX, |page_token| {
        let mut tasks = client.tasks();
        let request = ListExecutionsRequest {
            task_id: task_id.to_owned(),
            page_size: 10_000,
            page_token,
        };
        async move {
            let page = tasks.list_executions(request).await?.into_inner();
            Ok((page.executions, page.next_page_token))
        }
    })
    .await
}
