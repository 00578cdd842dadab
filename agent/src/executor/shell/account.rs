//! Whose processes a task starts: `run_as`.

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};

use opslink::reason::Reason;

use crate::executor::Failure;

/// An account of this machine, with all of its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// Absent for a uid without an entry in the user database.
    pub(super) user: Option<UserEntry>,
}

/// What the user database says of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserEntry {
    pub(super) name: String,
    pub(super) home: String,
    pub(super) shell: String,
}

impl UserEntry {
    /// For a uid that the user database does not know.
    pub(super) fn of_uid(uid: u32) -> Self {
        Self {
            name: uid.to_string(),
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
        }
    }
}

/// The group of those who have none, on Linux.
const NO_GROUP: u32 = 65_534;

/// Looks up who is asked for. `None` when that is who runs the agent: then there is nothing to change.
pub(super) fn find(run_as: &str) -> Result<Option<Account>, Failure> {
    let account = match run_as.parse::<u32>() {
        Ok(uid) => by_uid(uid)?,
        Err(_) => by_name(run_as)?,
    };
    let own = geteuid();
    if account.uid == own.as_raw() {
        return Ok(None);
    }
    if !own.is_root() {
        let message = format!(
            "the agent runs as uid {own} and may not start processes as `{run_as}`; \
             run the agent as root, or leave out the user"
        );
        return Err(Failure::new(Reason::RunAsDenied.code(), message));
    }
    Ok(Some(account))
}

fn by_uid(uid: u32) -> Result<Account, Failure> {
    match User::from_uid(Uid::from_raw(uid)).map_err(|error| unreadable(&uid.to_string(), error))? {
        Some(user) => with_groups(user),
        // A number is no group: the group of the same number may be anybody's.
        None => Ok(Account {
            uid,
            gid: NO_GROUP,
            groups: Vec::new(),
            user: None,
        }),
    }
}

fn by_name(name: &str) -> Result<Account, Failure> {
    let user = User::from_name(name)
        .map_err(|error| unreadable(name, error))?
        .ok_or_else(|| {
            let message = format!("there is no user `{name}` on this machine; give one of its users, or a uid");
            Failure::new(Reason::RunAsDenied.code(), message)
        })?;
    with_groups(user)
}

fn with_groups(user: User) -> Result<Account, Failure> {
    let unusable = || {
        Failure::new(
            Reason::RunAsDenied.code(),
            format!("the groups of `{}` cannot be read", user.name),
        )
    };
    let name = CString::new(user.name.as_str()).map_err(|_| unusable())?;
    let groups = getgrouplist(&name, user.gid).map_err(|_| unusable())?;
    Ok(Account {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        user: Some(UserEntry {
            home: user.dir.to_string_lossy().into_owned(),
            shell: user.shell.to_string_lossy().into_owned(),
            name: user.name,
        }),
    })
}

fn unreadable(who: &str, error: nix::Error) -> Failure {
    Failure::new(
        Reason::RunAsDenied.code(),
        format!("the user database cannot be asked for `{who}`: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_is_named_in_the_answer() {
        let failure = find("no-such-user-here").unwrap_err();
        assert_eq!(failure.reason, "RUN_AS_DENIED");
        assert!(failure.message.contains("no-such-user-here"), "{}", failure.message);
    }

    #[test]
    fn a_uid_without_an_entry_gets_nobodys_group() {
        let uid = (1_000_000..).find(|uid| User::from_uid(Uid::from_raw(*uid)).unwrap().is_none());
        let account = by_uid(uid.unwrap()).unwrap();
        assert_eq!((account.gid, account.groups.len()), (NO_GROUP, 0));
    }

    #[test]
    fn the_own_user_needs_no_change() {
        assert_eq!(find(&geteuid().to_string()), Ok(None));
    }
}
