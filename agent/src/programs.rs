//! Programs of this machine: finding them as a shell would, and whether one is among those that the machine's owner lists.
//!
//! # Lists
//! | entry | means |
//! |---|---|
//! | `systemctl` | a program of this name in a folder of the agent's PATH |
//! | `/usr/bin/systemctl` | this file, whatever it is a link to |
//! | `/opt/tools/*` | files in this folder: neither links that lead out of it nor folders below it (`**` is for those) |
//!
//! Names are resolved on the agent's own PATH and paths are followed to the file that they end at, before the list is
//! asked; exactly that file is executed. So neither `..` nor a link nor a PATH of the task's leads past the list.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// Where programs are looked for when the agent itself has no PATH (as under some init systems).
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program cannot be started. Its text is for people.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("there is no file `{0}` on this machine; install it, or give its full path")]
    NoFile(String),
    #[error("there is no program `{name}` in PATH={path} on this machine; install it, or give its full path")]
    NotInPath { name: String, path: String },
    #[error("`{file}` {why}; give a program, or its interpreter before it")]
    NotExecutable { file: String, why: &'static str },
}

/// The PATH of the agent.
pub(crate) fn own_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

/// Finds a program as a shell would: a name with a slash is a path (from the working folder), others are looked for in
/// `path`.
pub(crate) fn find(name: &str, cwd: Option<&Path>, path: &OsStr) -> Result<PathBuf, Unusable> {
    let not_executable = |file: &Path, why| Unusable::NotExecutable {
        file: file.display().to_string(),
        why,
    };
    if name.contains('/') {
        let file = cwd.map_or_else(|| PathBuf::from(name), |cwd| cwd.join(name));
        return match runnable(&file) {
            Runnable::Yes => Ok(file),
            Runnable::Missing => Err(Unusable::NoFile(file.display().to_string())),
            Runnable::No(why) => Err(not_executable(&file, why)),
        };
    }
    let mut denied = None;
    for folder in env::split_paths(path) {
        let file = folder.join(name);
        match runnable(&file) {
            Runnable::Yes => return Ok(file),
            Runnable::Missing => {}
            Runnable::No(why) => denied = denied.or(Some(not_executable(&file, why))),
        }
    }
    Err(denied.unwrap_or_else(|| Unusable::NotInPath {
        name: name.to_owned(),
        path: path.to_string_lossy().into_owned(),
    }))
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

/// A program that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Its own name, in the folder that it is really in.
    place: PathBuf,
    /// The file at the end of all links: what is executed.
    pub(crate) target: PathBuf,
}

impl Resolved {
    /// Follows every link.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn of(file: &Path) -> io::Result<Self> {
        Ok(Self {
            place: place(file)?,
            target: fs::canonicalize(file)?,
        })
    }

    /// Says whether it is on the list.
    pub(crate) fn is_among(&self, list: &[String], path: &OsStr) -> bool {
        let is_named = |name: &str| {
            let folder = self.place.parent();
            let mut folders = env::split_paths(path).filter_map(|folder| fs::canonicalize(folder).ok());
            glob_matches(name.as_bytes(), bytes(self.place.file_name()))
                && folders.any(|known| Some(known.as_path()) == folder)
        };
        let is_in = |glob: &str, path: &Path| {
            glob_matches(glob.as_bytes(), path.as_os_str().as_bytes())
                || with_real_folder(glob).is_some_and(|glob| glob_matches(&glob, path.as_os_str().as_bytes()))
        };
        let globs = || list.iter().filter(|entry| entry.contains('/') && is_glob(entry));
        let is_listed = |path: &Path| globs().any(|glob| is_in(glob, path));
        list.iter().any(|entry| match (entry.contains('/'), is_glob(entry)) {
            (false, _) => is_named(entry),
            (true, false) => place(Path::new(entry)).is_ok_and(|place| place == self.place || place == self.target),
            (true, true) => false,
        }) || is_listed(&self.place) && is_listed(&self.target)
    }
}

/// The file's name in the folder that it is really in.
fn place(file: &Path) -> io::Result<PathBuf> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let name = file.file_name().ok_or_else(missing)?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Ok(fs::canonicalize(folder)?.join(name))
}

/// A glob whose folders are links on this machine (`/bin` is, mostly), as its owner meant it.
fn with_real_folder(glob: &str) -> Option<Vec<u8>> {
    let special = glob.find(['*', '?'])?;
    let folder = glob.get(..glob.get(..special)?.rfind('/')?)?;
    let real = fs::canonicalize(folder).ok()?;
    Some([real.as_os_str().as_bytes(), glob.get(folder.len()..)?.as_bytes()].concat())
}

fn bytes(name: Option<&OsStr>) -> &[u8] {
    name.map_or(&[], OsStrExt::as_bytes)
}

fn is_glob(entry: &str) -> bool {
    entry.contains(['*', '?'])
}

/// `*` is any run of bytes without a slash, `**` any run, `?` any one byte beside a slash.
pub(crate) fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    match glob {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => {
            (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| glob_matches(rest, text)))
        }
        [b'*', rest @ ..] => {
            let slash = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=slash).any(|at| text.get(at..).is_some_and(|text| glob_matches(rest, text)))
        }
        [first, rest @ ..] => match text {
            [byte, text @ ..] if first == byte || *first == b'?' && *byte != b'/' => glob_matches(rest, text),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn globs_do_not_match_slashes() {
        for (glob, text, matches) in [
            ("*", "", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2", false),
            ("?", "", false),
            ("a?", "ab", true),
            ("a?", "a/", false),
            ("/opt/*/bin/x", "/opt/a/bin/x", true),
            ("/opt/*/bin/x", "/opt/a/b/bin/x", false),
        ] {
            assert_eq!(
                glob_matches(glob.as_bytes(), text.as_bytes()),
                matches,
                "{glob} on {text}"
            );
        }
    }

    /// A folder with tools, a folder beside it, and links between them.
    struct Tools(tempfile::TempDir);

    impl Tools {
        fn new() -> Self {
            let tools = Self(tempfile::tempdir().unwrap());
            for folder in ["tools/sub", "other"] {
                fs::create_dir_all(tools.path(folder)).unwrap();
            }
            for file in ["tools/deploy", "tools/sub/deep", "other/sh"] {
                fs::write(tools.path(file), "#!/bin/sh\n").unwrap();
                fs::set_permissions(tools.path(file), fs::Permissions::from_mode(0o755)).unwrap();
            }
            symlink(tools.path("other/sh"), tools.path("tools/out")).unwrap();
            symlink("deploy", tools.path("tools/in")).unwrap();
            symlink(tools.path("tools/deploy"), tools.path("other/alias")).unwrap();
            tools
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn allows(&self, entry: &str, file: &str) -> bool {
            let entry = match entry.strip_prefix("@/") {
                Some(rest) => self.path(rest).display().to_string(),
                None => entry.to_owned(),
            };
            let found = find(&self.path(file).display().to_string(), None, OsStr::new("")).unwrap();
            Resolved::of(&found)
                .unwrap()
                .is_among(&[entry], self.path("tools").as_os_str())
        }
    }

    #[test]
    fn only_what_is_really_on_the_list_is() {
        let tools = Tools::new();
        for (entry, file, allowed) in [
            ("@/tools/*", "tools/deploy", true),
            ("@/tools/*", "tools/../tools/./deploy", true),
            ("@/tools/*", "tools/../other/sh", false),
            ("@/tools/*", "tools/in", true),
            ("@/tools/*", "tools/out", false),
            ("@/tools/*", "other/alias", false),
            ("@/tools/*", "tools/sub/deep", false),
            ("@/tools/**", "tools/sub/deep", true),
            ("@/tools/out", "tools/out", true),
            ("@/tools/out", "other/sh", false),
            ("@/tools/deploy", "tools/in", true),
            ("@/tools/deploy", "tools/sub/../deploy", true),
            ("deploy", "tools/deploy", true),
            ("dep*", "tools/deploy", true),
            // In no folder of the PATH.
            ("sh", "other/sh", false),
            ("*", "other/sh", false),
        ] {
            assert_eq!(tools.allows(entry, file), allowed, "{entry} on {file}");
        }
    }

    #[test]
    fn what_cannot_be_started_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plain"), "x").unwrap();
        let path = folder.path().as_os_str();
        assert!(matches!(find("plain", None, path), Err(Unusable::NotExecutable { .. })));
        assert!(matches!(find("absent", None, path), Err(Unusable::NotInPath { .. })));
        assert!(matches!(
            find("./absent", Some(folder.path()), path),
            Err(Unusable::NoFile(_))
        ));
    }
}
