//! From a spec to what is started: program, arguments, environment, folder, account.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use opslink::{
    event::{Event, EventBody, Note},
    reason::Reason,
    task::{ShellProgram, ShellSpec},
    time::UnixMicros,
};

use super::{
    account::{self, Account, UserEntry},
    script,
};
use crate::{
    executor::{Context, Failure, Setting},
    programs::{self, DEFAULT_PATH, Unusable, glob_matches},
    remains,
};

/// Variables of the agent's own environment that tasks get too; the machine's owner may add some. Everything else, a proxy
/// with its password say, stays with the agent.
const INHERITED: [&str; 9] = [
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
];
/// Tells a task which one it is.
const TASK_MARK: &str = "OPSLINK_TASK_ID";
/// And those of the locale.
const INHERITED_PREFIX: &str = "LC_";

/// Everything that starting a process needs.
pub(super) struct Plan {
    /// An existing file.
    pub(super) program: PathBuf,
    /// With the program's name as it was given.
    pub(super) argv: Vec<OsString>,
    /// All of its environment.
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
    let env = environment(spec, account.as_ref(), &ctx.setting);
    let path = env.get(OsStr::new("PATH")).cloned().unwrap_or_else(programs::own_path);
    let find = |name: &str| match &ctx.setting.program {
        // What the owner's policy has found and allowed, and nothing else.
        Some(permitted) => Ok(permitted.clone()),
        None => programs::find(name, cwd.as_deref(), &path).map_err(|unusable| unusable_program(&unusable)),
    };
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

/// A clean environment: what is always there, what the machine's owner adds, what the task says, and the marks by which
/// the processes of an attempt are told.
fn environment(spec: &ShellSpec, account: Option<&Account>, setting: &Setting) -> BTreeMap<OsString, OsString> {
    let is_inherited = |name: &str| {
        INHERITED.contains(&name)
            || name.starts_with(INHERITED_PREFIX)
            || setting
                .inherit
                .iter()
                .any(|wanted| glob_matches(wanted.as_bytes(), name.as_bytes()))
    };
    let mut env: BTreeMap<OsString, OsString> = env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(is_inherited))
        .collect();
    env.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
    if let Some(account) = account {
        let nobody = UserEntry::of_uid(account.uid);
        let user = account.user.as_ref().unwrap_or(&nobody);
        // The agent's own is for the agent's user.
        env.remove(OsStr::new("TMPDIR"));
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
    env.insert(remains::MARK.into(), setting.attempt_id.clone().into());
    env.insert(TASK_MARK.into(), setting.task_id.clone().into());
    env
}

fn unusable_program(unusable: &Unusable) -> Failure {
    let reason = match unusable {
        Unusable::NoFile(_) | Unusable::NotInPath { .. } => Reason::ProgramNotFound,
        Unusable::NotExecutable { .. } => Reason::ProgramNotExecutable,
    };
    Failure::new(reason.code(), unusable.to_string())
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
