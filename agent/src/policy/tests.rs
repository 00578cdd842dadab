//! The file, and what it says of whole kinds.

use std::time::Duration;

use opslink::kind::{FakeSpec, NAMES, ShellProgram, ShellSpec};

use super::*;

pub(super) fn policy(text: &str) -> Policy {
    Policy::parse(text, Path::new(FILE_NAME)).unwrap()
}

pub(super) fn task(action: Action) -> TaskSpec {
    TaskSpec {
        action,
        timeout: Duration::from_secs(1),
        grace: Duration::from_secs(1),
    }
}

pub(super) fn shell(program: ShellProgram, run_as: Option<&str>) -> TaskSpec {
    task(Action::Shell(ShellSpec {
        program,
        env: Default::default(),
        cwd: None,
        stdin: Default::default(),
        run_as: run_as.map(str::to_owned),
    }))
}

pub(super) fn argv(program: &str) -> ShellProgram {
    ShellProgram::Argv(vec![program.to_owned()])
}

#[test]
fn a_fresh_policy_allows_shell_and_no_fake() {
    let policy = policy(&template());
    assert!(policy.permit(&shell(argv("ls"), Some("nobody"))).is_ok());
    let fake = policy.permit(&task(Action::Fake(FakeSpec::default()))).unwrap_err();
    assert!(fake.to_string().contains("fake"));
    assert_eq!(fake.reason, Reason::FakeDenied);
    assert!(policy.allows_kind("sql") && !policy.allows_kind("fake"));
}

/// The keys that a kind explains are those that the file may have: each is tried.
#[test]
fn a_fresh_policy_allows_what_it_says_and_explains_only_keys_that_there_are() {
    let text = template();
    assert!(text.contains("\nallow = [\"shell\", \"sql\"]\n"), "{text}");
    let keys = text.lines().filter_map(|line| line.strip_prefix("# "));
    let keys: String = keys
        .filter(|line| line.contains(" = "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(keys.lines().count(), 5, "{keys}");
    policy(&format!("allow = []\n{keys}"));
}

#[test]
fn everything_is_allowed_in_simulations_and_nothing_that_there_is_not() {
    let all = Policy::permissive();
    assert!(NAMES.iter().all(|kind| all.allows_kind(kind)));
    assert!(!all.allows_kind("no-such-kind"));
}

#[test]
fn a_policy_that_others_can_write_or_with_an_unknown_key_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    fs::write(&path, template()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Policy::load(&path).is_ok());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(Policy::load(&path), Err(Error::Unsafe { .. })));
    assert!(matches!(
        Policy::parse("allow=[]\nalow=[]", &path),
        Err(Error::Syntax { .. })
    ));
}
