//! `cloudctl completion SHELL`, and the live candidates behind it.

use std::{ffi::OsStr, time::Duration};

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{CompletionCandidate, env::Shells};
use opslink::pb::ListAgentsRequest;

use crate::{
    app::App,
    cli::{Cli, Globals},
    exit::Exit,
    failure::Failure,
    output,
};

/// Longest time that pressing Tab may take.
const PATIENCE: Duration = Duration::from_millis(150);

/// A shell that completion is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// Bourne Again Shell.
    Bash,
    /// Elvish.
    Elvish,
    /// Friendly Interactive Shell.
    Fish,
    /// PowerShell.
    Powershell,
    /// Z shell.
    Zsh,
}

/// Arguments of `completion`.
#[derive(Debug, Args)]
#[command(
    after_help = "bash: cloudctl completion bash > ~/.local/share/bash-completion/completions/cloudctl\n\
zsh:  cloudctl completion zsh > \"${fpath[1]}/_cloudctl\"\n\
fish: cloudctl completion fish > ~/.config/fish/completions/cloudctl.fish"
)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Runs `completion`.
pub(crate) fn run(args: &CompletionArgs) -> Result<Exit, Failure> {
    let name = match args.shell {
        Shell::Bash => "bash",
        Shell::Elvish => "elvish",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Zsh => "zsh",
    };
    let mut out = Vec::new();
    let builtins = Shells::builtins();
    let completer = builtins
        .completer(name)
        .ok_or_else(|| Failure::unexpected(&format!("no completion for {name}")))?;
    completer
        .write_registration("COMPLETE", "cloudctl", "cloudctl", "cloudctl", &mut out)
        .map_err(|error| Failure::unexpected(&error.to_string()))?;
    output::print(&out)?;
    Ok(Exit::Done)
}

/// Candidates for an agent's name: asked of the cloud, silent when it does not answer at once.
pub(crate) fn agents(current: &OsStr) -> Vec<CompletionCandidate> {
    // `-a a,b,c<Tab>` completes the last part.
    let current = current.to_string_lossy();
    let (before, prefix) = match current.rsplit_once(',') {
        Some((before, prefix)) => (format!("{before},"), prefix.to_owned()),
        None => (String::new(), current.into_owned()),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let names = runtime.block_on(async { tokio::time::timeout(PATIENCE, agent_names()).await });
    runtime.shutdown_background();
    let names = names.ok().and_then(Result::ok).unwrap_or_default();
    let fitting = names.into_iter().filter(|name| name.starts_with(&prefix));
    fitting
        .map(|name| CompletionCandidate::new(format!("{before}{name}")))
        .collect()
}

async fn agent_names() -> Result<Vec<String>, Failure> {
    // The flags of the half-typed line are not known here: environment and current context must do.
    let globals = Globals {
        context: std::env::var("CLOUDCTL_CONTEXT").ok(),
        server: std::env::var("CLOUDCTL_SERVER").ok(),
        ca_sha256: std::env::var("CLOUDCTL_CA_SHA256").ok(),
        token_file: None,
        output: None,
        no_headers: false,
        quiet: true,
        yes: false,
        color: crate::terminal::ColorChoice::Never,
        lang: None,
    };
    let client = App::new(globals)?.client().await?;
    let request = ListAgentsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let answer = client.agents().list_agents(request).await?.into_inner();
    Ok(answer.agents.into_iter().map(|agent| agent.name).collect())
}

/// Returns the whole grammar: what the reference and the tests are made from.
pub(crate) fn grammar() -> clap::Command {
    Cli::command()
}
