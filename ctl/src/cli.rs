//! The grammar of the command line: clap's derive is the specification; completion and the reference are made from it.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};
use clap_complete::ArgValueCompleter;

use crate::{
    commands::{agent, api, audit, completion, context, login, logs, run, task, token},
    output::Format,
    terminal::ColorChoice,
};

const EXIT_CODES: &str = "Exit codes: 0 done · 1 server or unexpected · 2 usage · 3 remote work failed on at least one \
target · 4 not logged in or not allowed · 5 not found · 6 precondition (agent offline without --queue) · 9 cloud \
unreachable · 124 timed out · 130 interrupted";

/// The command line of OpsLink: run shell and SQL on machines anywhere, watch it live, in one line.
#[derive(Debug, Parser)]
#[command(name = "cloudctl", version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads a command line.
    pub(crate) fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut grammar = Self::command();
        let matches = grammar.try_get_matches_from_mut(words)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut grammar))?;
        if matches.value_source("output") == Some(ValueSource::CommandLine) {
            cli.globals.output_by = SaidBy::Line;
        }
        Ok(cli)
    }
}

/// Who said something that a flag and the environment may say. What the line says must be done or refused; the environment
/// speaks for every command, and means those that it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SaidBy {
    /// The environment, or nobody.
    #[default]
    Surroundings,
    /// This very command line.
    Line,
}

/// Flags that every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Context to use instead of the current one
    #[arg(short, long, global = true, env = "CLOUDCTL_CONTEXT", value_name = "NAME",
          add = ArgValueCompleter::new(completion::contexts))]
    pub(crate) context: Option<String>,
    /// URL of the cloud, instead of a context's
    #[arg(long, global = true, env = "CLOUDCTL_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// SHA-256 of the cloud's CA certificate
    #[arg(long, global = true, env = "CLOUDCTL_CA_SHA256", value_name = "FINGERPRINT")]
    pub(crate) ca_sha256: Option<String>,
    /// File with an API token, - for the first line of stdin (CLOUDCTL_TOKEN holds the token itself)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How data is printed; lists default to table, rows of SQL to table on a terminal and csv elsewhere
    #[arg(short, long, global = true, env = "CLOUDCTL_OUTPUT", value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// Who said so
    #[arg(skip)]
    pub(crate) output_by: SaidBy,
    /// Leave out the header line of tables, csv and tsv
    #[arg(long, global = true)]
    pub(crate) no_headers: bool,
    /// Say nothing on stderr but warnings and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Answer yes to every question
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// When to colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    pub(crate) color: ColorChoice,
    /// Language of messages: en or zh-CN; else LANG
    #[arg(long, global = true, value_name = "LANGUAGE")]
    pub(crate) lang: Option<String>,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in to a cloud and make it the current context
    Login(login::LoginArgs),
    /// End the session and forget its token
    Logout,
    /// Show who you are and where
    Whoami,
    /// Run shell commands or SQL on agents and watch it
    #[command(subcommand)]
    Run(run::RunCommand),
    /// Show the output of a task
    Logs(logs::LogsArgs),
    /// Tasks: what was run
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Agents: the machines
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// API tokens for scripts and pipelines
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Who did what
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// The clouds that this machine knows
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Call any method of the API with JSON
    Api(api::ApiArgs),
    /// Find out why the cloud cannot be reached
    Doctor,
    /// Print the line that switches completion on
    Completion(completion::CompletionArgs),
    /// Print the version of this program and of the cloud
    Version,
    /// Print the reference of this program as Markdown
    #[command(hide = true)]
    Docs,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split_whitespace())
    }

    #[test]
    fn the_grammar_has_no_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_lines_of_the_readme_parse() {
        for line in [
            "cloudctl login https://127.0.0.1:7443",
            "cloudctl login https://127.0.0.1:7443 --with-token --ca-sha256 ab",
            "cloudctl agent list",
            "cloudctl run sql --file examples/demo.sql --agent prod",
            "cloudctl run shell -l env=prod -- sh -c true",
            "cloudctl run shell -a prod --detach -- sleep 60",
            "cloudctl run shell -a web-*,db-1 -a x --exclude web-3 --parallel 2 --max-fail 1 --file run.sh -- a b",
            "cloudctl logs 0192f0c1 -f",
            "cloudctl logs 0192f0c1/prod --tail 10 --timestamps",
            "cloudctl task list",
            "cloudctl task cancel 0192f0c1",
            "cloudctl agent join-token create --label env=prod",
            "cloudctl api ListAgents {}",
            "cloudctl api list",
            "cloudctl completion bash",
            "cloudctl agent list -o json",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_the_line_says_is_known_wherever_it_says_it() {
        for line in [
            "cloudctl -o json agent list",
            "cloudctl agent -o json list",
            "cloudctl run shell -a x -o json -- true",
        ] {
            let globals = parse(line).unwrap().globals;
            assert_eq!(
                (globals.output, globals.output_by),
                (Some(Format::Json), SaidBy::Line),
                "{line}"
            );
        }
        let globals = parse("cloudctl run shell -a x -- true -o json").unwrap().globals;
        assert_eq!(globals.output_by, SaidBy::Surroundings);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "cloudctl run shell -a x",
            "cloudctl run shell -- true -a",
            "cloudctl run sql -a x",
            "cloudctl run sql -a x --file f -e y",
            "cloudctl run shell -a x --expires 5m -- true",
            "cloudctl run shell -a x --all -- true",
            "cloudctl run shell -a x --timeout never -- true",
            "cloudctl agent list -o picture",
        ] {
            let refused = parse(line).is_err();
            assert!(refused || line == "cloudctl run shell -- true -a", "{line}");
        }
    }
}
