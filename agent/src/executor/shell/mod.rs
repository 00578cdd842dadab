//! The shell executor: one process (and what it starts), its output byte by byte, its end.
//!
//! An argv is passed as it is and never goes through a shell. A script travels as a file and is given to its
//! interpreter: the one that was named, else the one of its `#!` line (read here, not by the kernel, so that scripts
//! run from folders mounted `noexec`), else `sh`.
//!
//! # What is left running
//! A process that the main process leaves behind is left alone, as `ssh` and `docker exec` do: `nohup server &` is a
//! way to start a server. The attempt ends with its main process; what still holds the output is given
//! [`output::LINGER`] to finish, then a note tells how many processes stay. Cancel and deadline, however, end
//! everything.

use async_trait::async_trait;
use opslink::task::{Action, ShellProgram, ShellSpec};

use super::{Context, Executor, Failure, Finish, Health};

mod account;
mod child;
mod output;
mod program;
mod script;
mod tree;

#[cfg(test)]
mod tests;

/// See the module.
pub(super) struct Shell;

#[async_trait]
impl Executor for Shell {
    fn kind(&self) -> &'static str {
        "shell"
    }

    fn health(&self) -> Health {
        Health::Healthy
    }

    fn validate(&self, action: &Action) -> Result<(), Failure> {
        let spec = spec(action)?;
        no_nul_bytes(spec)?;
        match &spec.program {
            ShellProgram::Argv(argv) if argv.first().is_none_or(String::is_empty) => Err(Failure::new(
                "INVALID_ARGUMENT",
                "the task names no program; give one: cloudctl run shell -- PROGRAM",
            )),
            ShellProgram::Argv(_) => Ok(()),
            ShellProgram::Script { text, name, .. } => script::check(text, name),
        }
    }

    async fn run(&self, action: &Action, ctx: &Context) -> Result<Finish, Failure> {
        let spec = spec(action)?;
        let plan = program::plan(spec, ctx)?;
        for note in plan.notes.iter().cloned() {
            ctx.sink.emit(note).await;
        }
        let child = child::spawn(&plan, !spec.stdin.is_empty())?;
        child::watch(child, spec.stdin.clone(), ctx).await
    }
}

/// The program that reads a script: the one asked for, that of its `#!` line, or `sh`.
pub(crate) fn interpreter_of(text: &[u8], asked: Option<&str>) -> Result<String, Failure> {
    script::interpreter(text, asked).map(|interpreter| interpreter.program)
}

fn spec(action: &Action) -> Result<&ShellSpec, Failure> {
    match action {
        Action::Shell(spec) => Ok(spec),
        Action::Sql(_) | Action::Fake(_) => Err(Failure::new("INTERNAL", "the shell executor got another one's task")),
    }
}

/// The kernel ends every text at its first NUL: such a text cannot arrive as it was meant.
fn no_nul_bytes(spec: &ShellSpec) -> Result<(), Failure> {
    let program: Vec<&str> = match &spec.program {
        ShellProgram::Argv(argv) => argv.iter().map(String::as_str).collect(),
        ShellProgram::Script { interpreter, args, .. } => {
            args.iter().map(String::as_str).chain(interpreter.as_deref()).collect()
        }
    };
    let env = spec
        .env
        .iter()
        .flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    if program
        .into_iter()
        .chain(env)
        .chain(spec.cwd.as_deref())
        .any(|text| text.contains('\0'))
    {
        let message = "an argument, variable or path holds a NUL byte, which no program can be given; \
                       pass such data on standard input";
        return Err(Failure::new("INVALID_ARGUMENT", message));
    }
    if let Some(name) = spec.env.keys().find(|name| name.is_empty() || name.contains('=')) {
        let message = format!("`{name}` cannot be the name of an environment variable: it is empty or holds `=`");
        return Err(Failure::new("INVALID_ARGUMENT", message));
    }
    Ok(())
}
