//! From a spec to what is started: program, arguments, environment, folder, account.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use opslink::{
    event::{Event, EventBody, Note},
    reason::Reason,
    task::{ShellProgram, ShellSpec},
    time::UnixMicros,
};

use super::{
    account::{self, Account},
    script,
};
use crate::executor::{Context, Failure};

/// Where programs are looked for when the agent itself has no PATH (as under some init systems).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that starting a process needs.
pub(super) struct Plan {
    /// An existing file.
    pub(super) program: PathBuf,
    /// With the program's name as it was given.
    pub(super) argv: Vec<OsString>,
    /// Changes to the agent's own environment.
    pub(super) env: BTreeMap<OsString, OsString>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) account: Option<Account>,
    /// What people should know before the first line.
    pub(super) notes: Vec<Event>,
    /// A script's folder outside of the scratch folder; removed with the plan.
    pub(super) script_folder: Option<ScriptFolder>,
}

/// Removes a folder when dropped.
pub(super) struct ScriptFolder(PathBuf);

impl Drop for ScriptFolder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Looks everything up before anything is started.
pub(super) fn plan(spec: &ShellSpec, ctx: &Context) -> Result<Plan, Failure> {
    let account = spec.run_as.as_deref().map(account::find).transpose()?.flatten();
    let cwd = spec.cwd.as_deref().map(folder).transpose()?;
    let env = environment(spec, account.as_ref());
    let path = env.get(OsStr::new("PATH")).cloned().or_else(|| env::var_os("PATH"));
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    let find = |name: &str| find_program(name, cwd.as_deref(), &path);
    let mut plan = Plan {
        program: PathBuf::new(),
        argv: Vec::new(),
        env,
        cwd: cwd.clone(),
        account,
        notes: Vec::new(),
        script_folder: None,
    };
    match &spec.program {
        ShellProgram::Argv(argv) => {
            plan.program = find(argv.first().map_or("", String::as_str))?;
            plan.argv = argv.iter().map(OsString::from).collect();
        }
        ShellProgram::Script {
            text,
            interpreter,
            args,
            ..
        } => {
            script::check(text, "the script")?;
            let interpreter = script::interpreter(text, interpreter.as_deref())?;
            plan.program = find(&interpreter.program).map_err(|failure| Failure {
                reason: Reason::ProgramNotFound.code(),
                message: format!("the script's interpreter is missing: {}", failure.message),
            })?;
            let (text, mended) = script::mend(text, &interpreter);
            plan.notes = mended
                .into_iter()
                .map(|mended| Note {
                    level: mended.level,
                    reason: mended.reason.to_owned(),
                    message: mended.message,
                })
                .map(|note| Event {
                    time_us: UnixMicros::now().0,
                    body: EventBody::Note(note),
                })
                .collect();
            let file = plan.write_script(&text, ctx)?;
            plan.argv = [interpreter.program.into()]
                .into_iter()
                .chain(interpreter.argument.map(OsString::from))
                .collect();
            plan.argv.push(file.into_os_string());
            plan.argv.extend(args.iter().map(OsString::from));
        }
    }
    Ok(plan)
}

impl Plan {
    /// Writes the script where its reader can read it: the attempt's scratch folder, or, since another user cannot
    /// enter that, a folder of its own.
    fn write_script(&mut self, text: &[u8], ctx: &Context) -> Result<PathBuf, Failure> {
        let fail = |error: io::Error| {
            Failure::new(
                Reason::ExecutorFailed.code(),
                format!("the script cannot be written on the agent: {error}"),
            )
        };
        let folder = match &self.account {
            None => ctx.make_scratch().map_err(fail)?.to_owned(),
            Some(_) => {
                let name = ctx
                    .scratch
                    .parent()
                    .and_then(Path::file_name)
                    .unwrap_or(OsStr::new("attempt"));
                let folder = env::temp_dir().join(format!("opslink-{}", name.to_string_lossy()));
                // `create` fails when somebody else made it first: nobody can slip a folder under us.
                fs::DirBuilder::new().mode(0o700).create(&folder).map_err(fail)?;
                self.script_folder = Some(ScriptFolder(folder.clone()));
                folder
            }
        };
        let path = folder.join("script");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o700)
            .open(&path)
            .map_err(fail)?;
        file.write_all(text).map_err(fail)?;
        if let Some(account) = &self.account {
            fchown(&file, Some(account.uid), Some(account.gid)).map_err(fail)?;
            std::os::unix::fs::chown(&folder, Some(account.uid), Some(account.gid)).map_err(fail)?;
        }
        Ok(path)
    }
}

fn environment(spec: &ShellSpec, account: Option<&Account>) -> BTreeMap<OsString, OsString> {
    let mut env = BTreeMap::new();
    if env::var_os("PATH").is_none() {
        env.insert("PATH".into(), DEFAULT_PATH.into());
    }
    if let Some(user) = account.and_then(|account| account.user.as_ref()) {
        for (name, value) in [
            ("HOME", &user.home),
            ("USER", &user.name),
            ("LOGNAME", &user.name),
            ("SHELL", &user.shell),
        ] {
            env.insert(name.into(), value.into());
        }
    }
    env.extend(spec.env.iter().map(|(name, value)| (name.into(), value.into())));
    env
}

fn folder(path: &str) -> Result<PathBuf, Failure> {
    let fail = |why: &str| {
        let message = format!("the working folder `{path}` {why}; make it on the agent, or give another");
        Failure::new(Reason::CwdNotFound.code(), message)
    };
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(PathBuf::from(path)),
        Ok(_) => Err(fail("is not a folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(fail("does not exist")),
        Err(error) => Err(fail(&format!("cannot be used ({error})"))),
    }
}

/// Finds a program as a shell would: a name with a slash is a path (from the working folder), others are looked for in
/// PATH.
fn find_program(name: &str, cwd: Option<&Path>, path: &OsStr) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        let file = cwd.map_or_else(|| PathBuf::from(name), |cwd| cwd.join(name));
        return match runnable(&file) {
            Runnable::Yes => Ok(file),
            Runnable::Missing => Err(not_found(format!("there is no file `{}`", file.display()))),
            Runnable::No(why) => Err(not_executable(&file, why)),
        };
    }
    let mut denied = None;
    for folder in env::split_paths(path) {
        let file = folder.join(name);
        match runnable(&file) {
            Runnable::Yes => return Ok(file),
            Runnable::Missing => {}
            Runnable::No(why) => denied = denied.or(Some((file, why))),
        }
    }
    match denied {
        Some((file, why)) => Err(not_executable(&file, why)),
        None => Err(not_found(format!(
            "there is no program `{name}` in PATH={}",
            path.to_string_lossy()
        ))),
    }
}

fn not_found(what: String) -> Failure {
    Failure::new(
        Reason::ProgramNotFound.code(),
        format!("{what} on this machine; install it, or give its full path"),
    )
}

fn not_executable(file: &Path, why: &str) -> Failure {
    let message = format!(
        "`{}` {why}; give a program, or its interpreter before it",
        file.display()
    );
    Failure::new(Reason::ProgramNotExecutable.code(), message)
}

enum Runnable {
    Yes,
    Missing,
    No(&'static str),
}

fn runnable(file: &Path) -> Runnable {
    match fs::metadata(file) {
        Ok(found) if found.is_dir() => Runnable::No("is a folder"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Runnable::No("is not executable"),
        Ok(found) if found.size() == 0 => Runnable::No("is empty"),
        Ok(_) => Runnable::Yes,
        Err(_) => Runnable::Missing,
    }
}
