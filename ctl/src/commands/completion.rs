//! `cloudctl completion SHELL`, and the live candidates behind it.

mod candidates;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::env::Shells;

pub(crate) use candidates::{
    agents, at_files, connections, contexts, files, join_tokens, methods, tasks, tasks_and_agents, tokens,
};

use crate::{cli::Cli, exit::Exit, failure::Failure, output};

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
    if matches!(args.shell, Shell::Bash) {
        out = with_files(&out);
    }
    output::print(&out)?;
    Ok(Exit::Done)
}

/// Lets bash complete files where we have no candidates: it takes words apart at `=` and `@`, so that the file in
/// `--file=a` and `@a` comes to us as a word of its own that stands nowhere in the grammar.
fn with_files(script: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(script)
        .replace("-o bashdefault", "-o bashdefault -o default")
        .into_bytes()
}

/// Returns the whole grammar: what the reference and the tests are made from.
pub(crate) fn grammar() -> clap::Command {
    Cli::command()
}
