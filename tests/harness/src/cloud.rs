//! One cloud process.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{process::Server, programs};

/// The admin's password in every cloud that the harness starts, unless told otherwise.
pub const PASSWORD: &str = "harness-password-1";

/// How to start a cloud.
#[derive(Debug, Clone)]
pub struct Options {
    /// Data folder; made when missing.
    pub data: PathBuf,
    /// Address of the TLS listener; port 0 takes a free one.
    pub listen: String,
    /// Address of the plain listener on loopback.
    pub plain_listen: Option<String>,
    /// PostgreSQL instead of the embedded SQLite.
    pub database_url: Option<String>,
    /// URL that agents and clients are told to use.
    pub public_url: Option<String>,
    /// Password of the first admin.
    pub password: String,
    /// More arguments of `serve`.
    pub args: Vec<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
}

impl Options {
    /// A cloud on free ports with its data in this folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: "127.0.0.1:0".into(),
            plain_listen: Some("127.0.0.1:0".into()),
            database_url: None,
            public_url: None,
            password: PASSWORD.into(),
            args: Vec::new(),
            env: Vec::new(),
        }
    }
}

/// A running cloud. It is ended when this is dropped.
pub struct Cloud {
    options: Options,
    server: Option<Server>,
    /// `https://127.0.0.1:PORT`.
    pub url: String,
    /// `http://127.0.0.1:PORT` of the plain listener.
    pub plain_url: Option<String>,
    /// SHA-256 of the CA certificate, hexadecimal.
    pub ca_sha256: String,
}

impl Cloud {
    /// Starts a cloud and waits until it answers.
    ///
    /// # Errors
    /// It did not come up; the end of its log is in the message.
    pub fn start(options: Options) -> Result<Self> {
        let mut cloud = Self {
            options,
            server: None,
            url: String::new(),
            plain_url: None,
            ca_sha256: String::new(),
        };
        cloud.launch()?;
        // A restarted cloud must be where its agents look for it.
        cloud.options.listen = cloud.url.trim_start_matches("https://").to_owned();
        if let Some(plain) = &cloud.plain_url {
            cloud.options.plain_listen = Some(plain.trim_start_matches("http://").to_owned());
        }
        Ok(cloud)
    }

    /// Returns the command line, for tests that look at a start that fails.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn command(options: &Options) -> Result<Command> {
        let mut command = Command::new(programs::ours("opslink-cloud")?);
        command
            .args(["serve", "--ready-json", "--data"])
            .arg(&options.data)
            .args(["--listen", &options.listen]);
        command.args(["--dev-admin-password", &options.password]);
        if let Some(plain) = &options.plain_listen {
            command.args(["--plain-listen", plain]);
        }
        if let Some(url) = &options.database_url {
            command.args(["--database-url", url]);
        }
        if let Some(url) = &options.public_url {
            command.args(["--public-url", url]);
        }
        command.args(&options.args);
        command.envs(options.env.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }

    fn launch(&mut self) -> Result<()> {
        std::fs::create_dir_all(&self.options.data)?;
        let log = self.log();
        let mut command = Self::command(&self.options)?;
        let (server, line) = Server::start("opslink-cloud", &mut command, &log, Duration::from_secs(30))?;
        let ready: serde_json::Value =
            serde_json::from_str(&line).with_context(|| format!("readiness line of the cloud: {line}"))?;
        let text = |key: &str| ready.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        self.url = text("url").context("url in the readiness line")?;
        self.plain_url = text("plain_url");
        self.ca_sha256 = text("ca_sha256").context("ca_sha256 in the readiness line")?;
        self.server = Some(server);
        Ok(())
    }

    /// Ends the cloud as a crash would: no warning, no clean-up.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Ends the cloud politely.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again, on the same ports and data.
    ///
    /// # Errors
    /// It did not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.launch()
    }

    /// Starts it again with this place in which it shall die (`OPSLINK_CRASH_AT`), or with none.
    ///
    /// # Errors
    /// It did not come up.
    pub fn restart_to_die_at(&mut self, place: Option<&str>) -> Result<()> {
        let place = place.map(|place| ("OPSLINK_CRASH_AT".to_owned(), place.to_owned()));
        self.options.env = place.into_iter().collect();
        self.restart()
    }

    /// Says whether it was started and has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.server.as_mut().is_some_and(Server::has_ended)
    }

    /// Returns the process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.server.as_ref().map(Server::id)
    }

    /// Returns `host:port` of the TLS listener.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    /// Returns the data folder.
    pub fn data(&self) -> &Path {
        &self.options.data
    }

    /// Returns the file that holds what it says.
    pub fn log(&self) -> PathBuf {
        self.options.data.with_extension("log")
    }
}
