//! What the machine's owner may say of shell tasks: users, programs, variables.

use std::path::{Path, PathBuf};

use opslink::kind::{ShellProgram, ShellSpec};

use super::{Denied, FILE_NAME, Permit, Policy, Ruled};
use crate::{
    executor,
    programs::{self, Resolved},
};

impl Ruled for ShellSpec {
    const IS_ALLOWED_AT_FIRST: bool = true;

    const TEMPLATE: &'static str = "\
# Users that shell tasks may run as, beside the agent's own; leave out to allow every user.
# run_as = [\"deploy\"]
# Programs (and script interpreters) that shell tasks may start, as names in the agent's PATH, paths or globs of paths
# (`*` does not match `/`, links are followed first); leave out to allow every program.
# programs = [\"systemctl\", \"/opt/tools/*\", \"bash\"]
# Variables that tasks may set, as globs; counts only while programs is set, and then nothing else may be set.
# env = [\"DEPLOY_*\"]
# Variables of the agent's own environment that tasks get, as globs, beside PATH, HOME, USER, LOGNAME, SHELL, LANG,
# LANGUAGE, LC_*, TZ, TMPDIR. Nothing else of it reaches a task.
# inherit = [\"HTTPS_PROXY\", \"NO_PROXY\"]
";

    fn permit(&self, policy: &Policy) -> Result<Permit, Denied> {
        if let (Some(users), Some(user)) = (&policy.run_as, &self.run_as)
            && !users.contains(user)
        {
            return Err(Denied::new(format!(
                "the policy of this agent does not allow tasks to run as `{user}` ({FILE_NAME}: run_as)"
            )));
        }
        let program = match &policy.programs {
            Some(list) => Some(permit_program(self, list, &policy.env)?),
            None => None,
        };
        Ok(Permit {
            program,
            inherit: policy.inherit.clone(),
        })
    }
}

/// Finds the program as the agent finds it, whatever the task's own PATH says.
fn permit_program(shell: &ShellSpec, list: &[String], env: &[String]) -> Result<PathBuf, Denied> {
    let is_forbidden = |name: &&String| {
        let mut globs = env.iter();
        !globs.any(|glob| programs::glob_matches(glob.as_bytes(), name.as_bytes()))
    };
    if let Some(name) = shell.env.keys().find(is_forbidden) {
        return Err(Denied::new(format!(
            "the policy of this agent limits programs and does not allow tasks to set `{name}` ({FILE_NAME}: env)"
        )));
    }
    let name = match &shell.program {
        ShellProgram::Argv(argv) => argv.first().cloned().unwrap_or_default(),
        ShellProgram::Script { text, interpreter, .. } => {
            executor::interpreter_of(text, interpreter.as_deref()).map_err(|failure| Denied::new(failure.message))?
        }
    };
    let denied = |what: &str| {
        Denied::new(format!(
            "the policy of this agent does not allow the program `{name}`{what} ({FILE_NAME}: programs)"
        ))
    };
    let path = programs::own_path();
    let cwd = shell.cwd.as_deref().map(Path::new);
    let found = programs::find(&name, cwd, &path).map_err(|unusable| denied(&format!(": {unusable}")))?;
    let found = Resolved::of(&found).map_err(|error| denied(&format!(": {error}")))?;
    if !found.is_among(list, &path) {
        return Err(denied(&format!(", which is {}", found.target.display())));
    }
    Ok(found.target)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use opslink::kind::Action;

    use super::*;
    use crate::policy::tests::{argv, policy, shell};

    fn script(text: &'static str) -> ShellProgram {
        ShellProgram::Script {
            text: text.into(),
            interpreter: None,
            args: vec![],
            name: String::new(),
        }
    }

    #[test]
    fn users_and_programs_are_held_to_their_lists() {
        let policy = policy("allow=['shell']\nrun_as=['deploy']\nprograms=['/bin/s*','env']\nenv=['A_*']\n");
        let permit = policy.permit(&shell(argv("/bin/sleep"), Some("deploy"))).unwrap();
        assert_eq!(permit.program, Some(fs::canonicalize("/bin/sleep").unwrap()));
        assert!(policy.permit(&shell(argv("/bin/sleep"), Some("root"))).is_err());
        assert!(policy.permit(&shell(argv("sleep"), None)).is_ok(), "found in the PATH");
        assert!(policy.permit(&shell(argv("/bin/../bin/sleep"), None)).is_ok());
        assert!(policy.permit(&shell(argv("/bin/../bin/cat"), None)).is_err());
        assert!(policy.permit(&shell(argv("no-such-program"), None)).is_err());
        assert!(policy.permit(&shell(script("#!/usr/bin/perl\nx"), None)).is_err());
        assert!(policy.permit(&shell(script("#! /usr/bin/env -S x\nx"), None)).is_ok());
        // A byte order mark hides no interpreter.
        assert!(policy.permit(&shell(script("\u{feff}#!/bin/cat\nx"), None)).is_err());
    }

    #[test]
    fn a_limit_of_programs_limits_the_environment() {
        let limited = policy("allow=['shell']\nprograms=['sleep']\nenv=['A_*']\ninherit=['HTTPS_PROXY']\n");
        let with = |name: &str| {
            let mut task = shell(argv("sleep"), None);
            if let Action::Shell(shell) = &mut task.action {
                shell.env.insert(name.to_owned(), "x".to_owned());
            }
            task
        };
        for name in [
            "BASH_ENV",
            "LD_PRELOAD",
            "BASH_FUNC_echo%%",
            "PATH",
            "IFS",
            "ENV",
            "PYTHONPATH",
            "PERL5OPT",
            "anything",
        ] {
            let denied = limited.permit(&with(name)).unwrap_err();
            assert!(denied.to_string().contains(name), "{denied}");
        }
        assert_eq!(limited.permit(&with("A_B")).unwrap().inherit, ["HTTPS_PROXY"]);
        assert!(
            policy(&crate::policy::template()).permit(&with("PATH")).is_ok(),
            "without a limit anything may be set"
        );
    }
}
