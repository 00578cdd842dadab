//! Starting the main process, and waiting for its end.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    thread,
    time::Duration,
};

use bytes::Bytes;
use nix::sys::signal::Signal;
use opslink::{reason::Reason, task::ExecutionState};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin, Command},
    runtime::Handle,
};

use super::{account::Account, output, program::Plan, tree::ProcessTree};
use crate::executor::{Context, Failure, Finish};

/// Orphans that ended are collected so often while the main process runs.
const REAP_EVERY: Duration = Duration::from_secs(30);

/// Starts the main process in its own process group.
pub(super) fn spawn(plan: &Plan, has_stdin: bool) -> Result<Child, Failure> {
    let mut command = Command::new(&plan.program);
    let (name, args) = plan
        .argv
        .split_first()
        .map_or((plan.program.as_os_str(), &[][..]), |(name, args)| (name, args));
    command.arg0(name).args(args).process_group(0).kill_on_drop(true);
    command.stdin(if has_stdin { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_clear().envs(&plan.env);
    if let Some(cwd) = &plan.cwd {
        command.current_dir(cwd);
    }
    let child = match &plan.account {
        None => command.spawn(),
        Some(account) => spawn_as(&mut command, account),
    };
    child.map_err(|error| failure(plan, &error))
}

/// Starts the process from a thread that has become the other user: credentials belong to threads in Linux, and a
/// child gets those of the thread that made it. So the runner itself stays who it is, and the fast `posix_spawn` is
/// used here too.
fn spawn_as(command: &mut Command, account: &Account) -> io::Result<Child> {
    let runtime = Handle::current();
    let groups: Vec<Gid> = account.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    thread::scope(|scope| {
        let spawner = thread::Builder::new()
            .name("run-as".to_owned())
            .spawn_scoped(scope, || {
                let _entered = runtime.enter();
                set_thread_groups(&groups)?;
                set_thread_res_gid(gid, gid, gid)?;
                set_thread_res_uid(uid, uid, uid)?;
                command.spawn()
            })?;
        spawner
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the spawning thread broke down")))
    })
}

fn failure(plan: &Plan, error: &io::Error) -> Failure {
    let program = plan.program.display();
    let user = plan
        .account
        .as_ref()
        .map_or_else(String::new, |account| format!(" as uid {}", account.uid));
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(
            Reason::ProgramNotExecutable.code(),
            format!("`{program}` or the working folder may not be used{user}; check their permissions"),
        ),
        io::ErrorKind::NotFound => Failure::new(
            Reason::ProgramNotFound.code(),
            format!("`{program}` cannot be started: it, or the loader or interpreter it names, is missing"),
        ),
        io::ErrorKind::ArgumentListTooLong => Failure::new(
            Reason::InvalidArgument.code(),
            format!(
                "the arguments and environment for `{program}` are longer than this machine allows; use a script or stdin"
            ),
        ),
        // ENOEXEC has no kind of its own.
        _ if error.raw_os_error() == Some(nix::Error::ENOEXEC as i32) => Failure::new(
            Reason::ProgramNotExecutable.code(),
            format!(
                "`{program}` is neither a program for this machine nor a script with a `#!` line; run it as `sh {program}`"
            ),
        ),
        _ => Failure::new(
            Reason::ExecutorFailed.code(),
            format!("`{program}` cannot be started{user}: {error}"),
        ),
    }
}

/// Brings the output to the sink and waits for the end; see [`super`] for what is left running.
pub(super) async fn watch(mut child: Child, stdin: Bytes, ctx: &Context) -> Result<Finish, Failure> {
    let tree = ProcessTree::of(child.id());
    let feed = feed(child.stdin.take(), stdin);
    let pumps = output::Pumps::new(child.stdout.take(), child.stderr.take(), ctx);
    let status = {
        let main = until_end(&mut child, &tree, ctx);
        tokio::pin!(feed, main);
        let mut fed = false;
        let mut pumping = std::pin::pin!(pumps.run());
        let mut pumped = false;
        let status = loop {
            tokio::select! {
                biased;
                () = &mut pumping, if !pumped => pumped = true,
                status = &mut main => break status,
                () = &mut feed, if !fed => fed = true,
            }
        };
        ctx.settled.set();
        if !pumped {
            output::last_words(pumping, &pumps, &tree, ctx).await;
        }
        status
    };
    status.map(finish)
}

async fn feed(pipe: Option<ChildStdin>, stdin: Bytes) {
    if let Some(mut pipe) = pipe {
        // A process need not read its input: a closed pipe is its own business.
        pipe.write_all(&stdin).await.ok();
    }
}

/// Waits for the main process; when canceled, ends the whole tree first.
async fn until_end(child: &mut Child, tree: &ProcessTree, ctx: &Context) -> Result<ExitStatus, Failure> {
    let broken = |error: io::Error| {
        Failure::new(
            Reason::Internal.code(),
            format!("waiting for the process failed: {error}"),
        )
    };
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status.map_err(broken),
            () = ctx.cancel.cancelled() => break,
            () = tokio::time::sleep(REAP_EVERY) => tree.reap(),
        }
    }
    tree.end(child, ctx).await?;
    child.wait().await.map_err(broken)
}

fn finish(status: ExitStatus) -> Finish {
    if status.success() {
        return Finish::succeeded(Some(0));
    }
    let (reason, message) = match (status.code(), status.signal()) {
        (Some(code), _) => (
            Reason::ExitNonzero.code(),
            format!("ended with exit code {code}{}", hint(code)),
        ),
        (None, Some(signal)) => (
            Reason::KilledBySignal.code(),
            format!("ended by signal {}", signal_name(signal)),
        ),
        (None, None) => (
            Reason::Internal.code(),
            format!("ended in a way that the kernel does not name: {status}"),
        ),
    };
    Finish {
        state: ExecutionState::Failed,
        exit_code: status.code(),
        signal: status.signal(),
        reason: reason.to_owned(),
        message,
    }
}

/// What shells mean by their own codes.
fn hint(code: i32) -> &'static str {
    match code {
        126 => " (a command was found but could not be run)",
        127 => " (a command was not found)",
        137 => " (a command was killed, perhaps for lack of memory)",
        _ => "",
    }
}

fn signal_name(number: i32) -> String {
    let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
    let hint = if number == Signal::SIGKILL as i32 {
        ", perhaps for lack of memory"
    } else {
        ""
    };
    format!("{name} ({number}){hint}")
}
