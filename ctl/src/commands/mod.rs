//! One file per command: `commands/<noun>/<verb>.rs`. Each reads its arguments, asks the cloud, and prints.

pub(crate) mod agent;
pub(crate) mod api;
pub(crate) mod audit;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod logs;
pub(crate) mod meant;
pub(crate) mod pages;
pub(crate) mod run;
pub(crate) mod task;
pub(crate) mod token;
pub(crate) mod version;
pub(crate) mod whoami;

use crate::{app::App, cli::Command, exit::Exit, failure::Failure};

/// Runs one command.
pub(crate) async fn run(command: Command, app: &App) -> Result<Exit, Failure> {
    // Boxed: the future of each command is large, and only one of them is ever needed.
    match command {
        Command::Login(args) => Box::pin(login::run(args, app)).await,
        Command::Logout => Box::pin(logout::run(app)).await,
        Command::Whoami => Box::pin(whoami::run(app)).await,
        Command::Run(command) => Box::pin(run::run(command, app)).await,
        Command::Logs(args) => Box::pin(logs::run(args, app)).await,
        Command::Task(command) => Box::pin(task::run(command, app)).await,
        Command::Agent(command) => Box::pin(agent::run(command, app)).await,
        Command::Token(command) => Box::pin(token::run(command, app)).await,
        Command::Audit(command) => Box::pin(audit::run(command, app)).await,
        Command::Context(command) => context::run(command, app),
        Command::Api(args) => Box::pin(api::run(args, app)).await,
        Command::Doctor => Box::pin(doctor::run(app)).await,
        Command::Completion(args) => completion::run(&args),
        Command::Version => Box::pin(version::run(app)).await,
        Command::Docs => docs::run(),
    }
}
