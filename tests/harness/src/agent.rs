//! One agent process.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use crate::{process, process::Server, programs};

/// An agent on this machine, with a state folder of its own. It is ended when this is dropped; its runners are not.
pub struct Agent {
    /// Name in the cloud.
    pub name: String,
    state: PathBuf,
    server: Option<Server>,
}

impl Agent {
    /// Joins with a token. The agent does not run yet.
    ///
    /// # Errors
    /// The join failed; what it said is in the message.
    pub fn join(name: &str, state: impl Into<PathBuf>, url: &str, token: &str) -> Result<Self> {
        let state = state.into();
        process::output(
            Command::new(programs::ours("opslink-agent")?)
                .args(["join", url, "--token", token, "--state"])
                .arg(&state),
        )?;
        Ok(Self {
            name: name.to_owned(),
            state,
            server: None,
        })
    }

    /// Takes over a state folder that was joined before.
    pub fn joined(name: &str, state: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            state: state.into(),
            server: None,
        }
    }

    /// Writes the connections file: pairs of name and URL; the first is the default.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_connections(&self, connections: &[(&str, &str)]) -> Result<()> {
        let mut text = String::new();
        for (index, (name, url)) in connections.iter().enumerate() {
            text.push_str(&format!(
                "[[connection]]\nname = \"{name}\"\nurl = \"{url}\"\ndefault = {}\n\n",
                index == 0
            ));
        }
        Ok(std::fs::write(self.state.join("connections.toml"), text)?)
    }

    /// Starts it and waits until its link is up.
    ///
    /// # Errors
    /// It ended, or had no link within 30 s.
    pub fn start(&mut self) -> Result<()> {
        self.start_with(&[])
    }

    /// Starts it with more environment, and waits until its link is up.
    ///
    /// # Errors
    /// It ended, or had no link within 30 s.
    pub fn start_with(&mut self, env: &[(&str, &str)]) -> Result<()> {
        let mut command = Command::new(programs::ours("opslink-agent")?);
        command
            .args(["run", "--ready-json", "--state"])
            .arg(&self.state)
            .envs(env.iter().copied());
        let (server, _) = Server::start("opslink-agent", &mut command, &self.log(), Duration::from_secs(30))?;
        self.server = Some(server);
        Ok(())
    }

    /// Starts it and does not wait for a link, which it may never get.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        self.launch_with(&[])
    }

    /// The same with more environment.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn launch_with(&mut self, env: &[(&str, &str)]) -> Result<()> {
        let mut command = Command::new(programs::ours("opslink-agent")?);
        command
            .args(["run", "--state"])
            .arg(&self.state)
            .envs(env.iter().copied());
        self.server = Some(Server::launch("opslink-agent", &mut command, &self.log())?);
        Ok(())
    }

    /// Ends the agent as a crash would.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Ends the agent politely.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Says whether it was started and has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.server.as_mut().is_some_and(Server::has_ended)
    }

    /// Returns the process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.server.as_ref().map(Server::id)
    }

    /// Returns the state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Returns the file that holds what it says.
    pub fn log(&self) -> PathBuf {
        self.state.with_extension("log")
    }
}
