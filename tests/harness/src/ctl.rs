//! `cloudctl` as a person or a script would call it.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{cloud::Cloud, programs};

/// A `cloudctl` that is logged in to one cloud, with a configuration folder of its own.
#[derive(Debug, Clone)]
pub struct Ctl {
    config: PathBuf,
    token: Option<String>,
}

/// What a call printed and how it ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output, as it is.
    pub stdout: Vec<u8>,
    /// Standard error as text.
    pub stderr: String,
}

impl Ran {
    /// Returns standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Reads standard output as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.stdout).with_context(|| format!("not JSON: {}\n{}", self.text(), self.stderr))
    }

    /// Returns itself when the exit code is the expected one.
    ///
    /// # Errors
    /// It is another; everything printed is in the message.
    pub fn expect(self, code: i32) -> Result<Self> {
        if self.code != code {
            bail!(
                "exit code {} instead of {code}\nstdout: {}\nstderr: {}",
                self.code,
                self.text(),
                self.stderr
            );
        }
        Ok(self)
    }
}

impl Ctl {
    /// Logs in with the admin's password.
    ///
    /// # Errors
    /// The login failed.
    pub fn login(cloud: &Cloud, config: impl Into<PathBuf>, password: &str) -> Result<Self> {
        let ctl = Self {
            config: config.into(),
            token: None,
        };
        std::fs::create_dir_all(&ctl.config)?;
        let stdin = ctl.config.join("password");
        std::fs::write(&stdin, format!("{password}\n"))?;
        let mut command = ctl.command(["login", &cloud.url, "--username", "admin", "--password-stdin"])?;
        command
            .args(["--ca-sha256", &cloud.ca_sha256])
            .stdin(File::open(&stdin)?);
        let login = ran(&mut command)?.expect(0);
        std::fs::remove_file(stdin)?;
        login.map(|_| ctl)
    }

    /// Returns the same configuration with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            config: self.config.clone(),
            token: Some(token.to_owned()),
        }
    }

    /// Returns the configuration folder.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Returns a call that was not started yet.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Command> {
        let mut command = Command::new(programs::ours("cloudctl")?);
        command
            .args(args)
            .env("CLOUDCTL_CONFIG", &self.config)
            .env("LANG", "C.UTF-8")
            .env_remove("CLOUDCTL_SERVER");
        if let Some(token) = &self.token {
            command.env("CLOUDCTL_TOKEN", token);
        }
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a call to its end.
    ///
    /// # Errors
    /// The program cannot be started; a bad exit code is no error.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Ran> {
        ran(&mut self.command(args)?)
    }

    /// Starts a call whose stdout and stderr are pipes.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Child> {
        Ok(self
            .command(args)?
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?)
    }

    /// Calls one RPC with a JSON body and returns its JSON answer.
    ///
    /// # Errors
    /// The call failed.
    pub fn api(&self, method: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
        self.run(["api", method, &body.to_string()])?.expect(0)?.json()
    }
}

fn ran(command: &mut Command) -> Result<Ran> {
    let output = command.output().context("start cloudctl")?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
