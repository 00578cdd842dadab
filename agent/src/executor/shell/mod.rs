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
use opslink::kind::{ShellProgram, ShellSpec};

use super::{Context, Failure, Finish, KindExecutor};

mod account;
mod child;
mod output;
mod program;
mod script;
mod tree;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

/// See the module.
pub(super) struct Shell;

#[async_trait]
impl KindExecutor for Shell {
    type Spec = ShellSpec;

    fn validate(&self, spec: &ShellSpec) -> Result<(), Failure> {
        match &spec.program {
            ShellProgram::Argv(_) => Ok(()),
            ShellProgram::Script { text, name, .. } => script::check(text, name),
        }
    }

    async fn run(&self, spec: &ShellSpec, ctx: &Context) -> Result<Finish, Failure> {
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
