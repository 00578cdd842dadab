//! `$XDG_CONFIG_HOME/cloudctl/config.toml`: the contexts. Tokens lie apart, in a file only the user can read.

mod file;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{connect::Endpoint, failure::Failure};

/// Name of the file with the contexts.
const CONTEXTS: &str = "config.toml";

/// Name of the file with their tokens.
const TOKENS: &str = "tokens.toml";

/// One cloud that the user knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// URL of the cloud.
    pub(crate) server: String,
    /// Pinned CA, SHA-256 in hexadecimal; absent for plain loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_sha256: Option<String>,
    /// Who logged in, for showing only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
}

/// The contexts and which of them is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contexts {
    /// Name of the context in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Returns the name under which a cloud is kept when nobody gave one: its host, or more of its URL where that name is
    /// another cloud's.
    pub(crate) fn name_for(&self, endpoint: &Endpoint) -> String {
        let url = endpoint.url();
        let is_free = |name: &String| self.contexts.get(name).is_none_or(|context| context.server == url);
        let names = [endpoint.host().to_owned(), endpoint.authority()];
        names.into_iter().find(is_free).unwrap_or_else(|| url.clone())
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Tokens {
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

/// The configuration folder.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// None when the environment names no place: then nothing is known, and nothing can be kept.
    folder: Option<PathBuf>,
}

impl Config {
    /// Finds the folder: `CLOUDCTL_CONFIG`, `$XDG_CONFIG_HOME/cloudctl`, `~/.config/cloudctl`.
    pub(crate) fn find() -> Self {
        let from = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let folder = from("CLOUDCTL_CONFIG")
            .or_else(|| from("XDG_CONFIG_HOME").map(|base| base.join("cloudctl")))
            .or_else(|| from("HOME").map(|home| home.join(".config").join("cloudctl")));
        Self { folder }
    }

    /// Uses a folder as given.
    #[cfg(test)]
    pub(crate) const fn at(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// Returns the folder.
    ///
    /// # Errors
    /// `NO_CONFIG_FOLDER` when there is no place for one.
    pub(crate) fn folder(&self) -> Result<&Path, Failure> {
        self.folder
            .as_deref()
            .ok_or_else(|| Failure::usage("NO_CONFIG_FOLDER", &[]))
    }

    fn read<T: Default + for<'de> Deserialize<'de>>(&self, file: &str) -> Result<T, Failure> {
        match &self.folder {
            Some(folder) => read(&folder.join(file)),
            None => Ok(T::default()),
        }
    }

    /// Reads the contexts; none when there is no file.
    pub(crate) fn contexts(&self) -> Result<Contexts, Failure> {
        self.read(CONTEXTS)
    }

    /// Reads the token of a context.
    pub(crate) fn token(&self, context: &str) -> Result<Option<String>, Failure> {
        Ok(self.read::<Tokens>(TOKENS)?.tokens.remove(context))
    }

    /// Adds or replaces a context, makes it the one in use and keeps its token.
    pub(crate) fn save(&self, name: &str, context: Context, token: &str) -> Result<(), Failure> {
        let mut contexts = self.contexts()?;
        contexts.contexts.insert(name.to_owned(), context);
        contexts.current = Some(name.to_owned());
        // The token first: a context without its token would look logged in.
        self.set_token(name, Some(token))?;
        write(&self.folder()?.join(CONTEXTS), &contexts, file::Access::Default)
    }

    /// Makes a context the one in use.
    pub(crate) fn use_context(&self, name: &str) -> Result<(), Failure> {
        let mut contexts = self.contexts()?;
        if !contexts.contexts.contains_key(name) {
            return Err(unknown(name, &contexts));
        }
        contexts.current = Some(name.to_owned());
        write(&self.folder()?.join(CONTEXTS), &contexts, file::Access::Default)
    }

    /// Forgets a context and its token.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        let mut contexts = self.contexts()?;
        if contexts.contexts.remove(name).is_none() {
            return Err(unknown(name, &contexts));
        }
        if contexts.current.as_deref() == Some(name) {
            contexts.current = None;
        }
        self.set_token(name, None)?;
        write(&self.folder()?.join(CONTEXTS), &contexts, file::Access::Default)
    }

    /// Keeps or forgets the token of a context.
    pub(crate) fn set_token(&self, context: &str, token: Option<&str>) -> Result<(), Failure> {
        let path = self.folder()?.join(TOKENS);
        let mut tokens: Tokens = read(&path)?;
        match token {
            Some(token) => tokens.tokens.insert(context.to_owned(), token.to_owned()),
            None => tokens.tokens.remove(context),
        };
        write(&path, &tokens, file::Access::OwnerOnly)
    }
}

/// The failure for a context that is not there.
pub(crate) fn unknown(name: &str, contexts: &Contexts) -> Failure {
    let known: Vec<&str> = contexts.contexts.keys().map(String::as_str).collect();
    let known = if known.is_empty() {
        "–".to_owned()
    } else {
        known.join(", ")
    };
    Failure::local(
        crate::exit::Exit::NotFound,
        "CONTEXT_NOT_FOUND",
        &[("name", name), ("known", &known)],
    )
}

fn read<T: Default + for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Failure> {
    let shown = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| Failure::usage("CONFIG_FILE_INVALID", &[("path", &shown), ("detail", error.message())])),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(Failure::usage(
            "CONFIG_FILE_UNREADABLE",
            &[("path", &shown), ("detail", &error.to_string())],
        )),
    }
}

fn write<T: Serialize>(path: &Path, value: &T, access: file::Access) -> Result<(), Failure> {
    let text = toml::to_string(value).map_err(|error| Failure::unexpected(&error.to_string()))?;
    file::replace(path, text.as_bytes(), access).map_err(|error| {
        let shown = path.display().to_string();
        Failure::usage(
            "CONFIG_FILE_NOT_WRITABLE",
            &[("path", &shown), ("detail", &error.to_string())],
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::at(folder.path().join("deep").join("cloudctl"));
        (folder, config)
    }

    fn context(server: &str) -> Context {
        Context {
            server: server.into(),
            ca_sha256: Some("ab".into()),
            user: Some("admin".into()),
        }
    }

    #[test]
    fn a_saved_context_is_in_use_and_has_its_token() {
        let (_folder, config) = config();
        config.save("demo", context("https://a:1"), "ols_1").unwrap();
        config.save("other", context("https://b:1"), "ols_2").unwrap();
        assert_eq!(config.contexts().unwrap().current.as_deref(), Some("other"));
        config.use_context("demo").unwrap();
        assert_eq!(config.contexts().unwrap().current.as_deref(), Some("demo"));
        assert_eq!(config.token("demo").unwrap().as_deref(), Some("ols_1"));
    }

    #[test]
    fn tokens_are_readable_by_their_owner_only_and_in_no_other_file() {
        let (_folder, config) = config();
        config.save("demo", context("https://a:1"), "ols_secret").unwrap();
        let mode = std::fs::metadata(config.folder().unwrap().join(TOKENS))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            !std::fs::read_to_string(config.folder().unwrap().join(CONTEXTS))
                .unwrap()
                .contains("ols_secret")
        );
    }

    #[test]
    fn a_removed_context_leaves_no_token() {
        let (_folder, config) = config();
        config.save("demo", context("https://a:1"), "ols_secret").unwrap();
        config.remove("demo").unwrap();
        assert_eq!(config.contexts().unwrap(), Contexts::default());
        assert_eq!(config.token("demo").unwrap(), None);
        assert!(
            !std::fs::read_to_string(config.folder().unwrap().join(TOKENS))
                .unwrap()
                .contains("ols_secret")
        );
    }

    #[test]
    fn an_unknown_context_is_named_with_the_known_ones() {
        let (_folder, config) = config();
        config.save("demo", context("https://a:1"), "t").unwrap();
        let failure = config.use_context("prod").unwrap_err();
        assert_eq!(failure.reason, "CONTEXT_NOT_FOUND");
        assert!(failure.why.contains("demo"), "{}", failure.why);
    }

    #[test]
    fn a_broken_file_is_told_by_its_path() {
        let (_folder, config) = config();
        config.save("demo", context("https://a:1"), "t").unwrap();
        std::fs::write(config.folder().unwrap().join(CONTEXTS), "contexts = 7").unwrap();
        let failure = config.contexts().unwrap_err();
        assert_eq!(failure.reason, "CONFIG_FILE_INVALID");
        assert!(failure.what.contains("config.toml"), "{}", failure.what);
    }

    #[test]
    fn clouds_on_one_host_get_names_of_their_own() {
        let (_folder, config) = config();
        let mut names = Vec::new();
        for url in [
            "https://h:8443",
            "https://h:7443",
            "http://localhost:1",
            "https://h:7443",
            "https://h:8443",
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            let name = config.contexts().unwrap().name_for(&endpoint);
            config.save(&name, context(&endpoint.url()), url).unwrap();
            names.push(name);
        }
        assert_eq!(names, ["h", "h:7443", "localhost", "h:7443", "h"]);
        assert_eq!(config.token("h").unwrap().as_deref(), Some("https://h:8443"));
        let contexts = config.contexts().unwrap().contexts;
        assert_eq!(contexts["h"].server, "https://h:8443");
        assert_eq!(contexts["h:7443"].server, "https://h:7443");
    }

    #[test]
    fn without_a_folder_nothing_is_known_and_nothing_can_be_kept() {
        let config = Config { folder: None };
        assert_eq!(config.contexts().unwrap(), Contexts::default());
        assert_eq!(config.token("demo").unwrap(), None);
        let failure = config.save("demo", context("https://a:1"), "t").unwrap_err();
        assert_eq!(failure.reason, "NO_CONFIG_FOLDER");
    }
}
