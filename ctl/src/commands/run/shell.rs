//! `cloudctl run shell`: a command (`-- CMD…`, passed as argv) or a script (`--file F`).

use std::path::{Path, PathBuf};

use clap::Args;
use opslink::pb::{ShellSpec, task_spec::Action};

use crate::{
    app::App,
    commands::run::{submit, targets::TargetArgs},
    exit::Exit,
    failure::Failure,
    input::{self, LineEnds, Purpose},
};

/// Arguments of `run shell`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cloudctl run shell -a prod -- uptime
  cloudctl run shell -l env=prod -- sh -c 'df -h | tail -1'
  cloudctl run shell -a 'web-*' --file deploy.sh -e VERSION=1.4 -- --fast
  echo data | cloudctl run shell -a prod --stdin - -- wc -c")]
pub(crate) struct ShellArgs {
    /// Script to send; its interpreter is --interpreter, its #! line, or sh
    #[arg(short, long, value_name = "FILE", help_heading = "What to run")]
    file: Option<PathBuf>,
    /// Interpreter of the script: bash, python3, /usr/bin/perl
    #[arg(short, long, value_name = "PROGRAM", requires = "file", value_parser = input::not_blank, help_heading = "What to run")]
    interpreter: Option<String>,
    /// Turn Windows line ends of the script (CR LF) into LF
    #[arg(long, requires = "file", help_heading = "What to run")]
    convert_crlf: bool,
    /// Environment variable; repeatable
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = input::key_value, help_heading = "What to run")]
    env: Vec<(String, String)>,
    /// Working directory on the agent
    #[arg(long, value_name = "FOLDER", value_parser = input::not_blank, help_heading = "What to run")]
    cwd: Option<String>,
    /// User to run as: a name or a uid
    #[arg(long, value_name = "USER", value_parser = input::not_blank, help_heading = "What to run")]
    user: Option<String>,
    /// File given to the command as stdin; - is our own
    #[arg(long, value_name = "FILE", help_heading = "What to run")]
    stdin: Option<PathBuf>,
    #[command(flatten)]
    targets: TargetArgs,
    /// The command and its arguments, as they are; with --file: the script's arguments
    #[arg(last = true, required_unless_present = "file", value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `run shell`.
pub(super) async fn run(args: ShellArgs, app: &App) -> Result<Exit, Failure> {
    let spec = spec(&args)?;
    submit::submit(Action::Shell(spec), &args.targets, app).await
}

fn spec(args: &ShellArgs) -> Result<ShellSpec, Failure> {
    let own = Some(Path::new("-"));
    if args.file.as_deref() == own && args.stdin.as_deref() == own {
        return Err(Failure::usage("STDIN_TWICE", &[]));
    }
    let line_ends = if args.convert_crlf {
        LineEnds::Convert
    } else {
        LineEnds::Refuse
    };
    let (script, script_name) = match &args.file {
        Some(path) => (
            input::read(path, Purpose::Script, line_ends)?,
            input::display_name(path),
        ),
        None => (Vec::new(), String::new()),
    };
    let stdin = match &args.stdin {
        Some(path) => input::read(path, Purpose::Stdin, LineEnds::Refuse)?,
        None => Vec::new(),
    };
    Ok(ShellSpec {
        argv: args.command.clone(),
        script: script.into(),
        interpreter: args.interpreter.clone().unwrap_or_default(),
        env: args.env.iter().cloned().collect(),
        cwd: args.cwd.clone().unwrap_or_default(),
        stdin: stdin.into(),
        run_as: args.user.clone().unwrap_or_default(),
        script_name,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        shell: ShellArgs,
    }

    fn parse(words: &[&str]) -> ShellArgs {
        Line::try_parse_from([&["x"], words].concat()).unwrap().shell
    }

    #[test]
    fn a_command_stays_argv_whatever_is_in_it() {
        let args = parse(&["-a", "prod", "-e", "A=1 2", "--", "sh", "-c", "echo $A; exit 3", "-a"]);
        let spec = spec(&args).unwrap();
        assert_eq!(spec.argv, ["sh", "-c", "echo $A; exit 3", "-a"]);
        assert_eq!(spec.env["A"], "1 2");
    }

    #[test]
    fn an_empty_value_is_refused_and_never_a_wider_target() {
        for words in [
            ["-a", "", "-l", "env=prod"],
            ["-a", "web", "-l", " "],
            ["-a", "web,", "--cwd", "/"],
            ["--all", "-i", "sh", "--user="],
        ] {
            let line = [&["x", "--file", "f"][..], &words].concat();
            let error = Line::try_parse_from(line).expect_err("an empty value");
            assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation, "{words:?}");
        }
    }

    #[test]
    fn stdin_is_the_script_or_the_input_and_never_both() {
        let args = parse(&["-a", "prod", "--file", "-", "--stdin", "-"]);
        assert_eq!(spec(&args).expect_err("both").reason, "STDIN_TWICE");
    }

    #[test]
    fn targets_may_be_repeated_and_separated_by_commas() {
        let args = parse(&[
            "-a",
            "a,b",
            "--agent",
            "web-*",
            "-l",
            "env=prod",
            "--exclude",
            "c,d",
            "--",
            "true",
        ]);
        let request = args.targets.request(Action::Shell(ShellSpec::default()));
        let selector = request.selector.unwrap();
        assert_eq!(selector.names, ["a", "b", "web-*"]);
        assert_eq!(selector.expression, "env=prod");
        assert_eq!(selector.exclude, ["c", "d"]);
        assert!(uuid::Uuid::try_parse(&request.request_id).is_ok());
    }

    #[test]
    fn a_script_travels_with_its_name_and_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("go.sh");
        std::fs::write(&path, "echo $1\n").unwrap();
        let args = parse(&["-a", "x", "--file", path.to_str().unwrap(), "-i", "bash", "--", "one"]);
        let spec = spec(&args).unwrap();
        assert_eq!(
            (spec.script.as_ref(), spec.script_name.as_str()),
            (&b"echo $1\n"[..], "go.sh")
        );
        assert_eq!(
            (spec.interpreter.as_str(), spec.argv.as_slice()),
            ("bash", &["one".to_owned()][..])
        );
    }
}
