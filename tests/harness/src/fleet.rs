//! A cloud, some agents, and a `cloudctl` that is logged in: what most tests start with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    agent::Agent,
    cloud::{self, Cloud},
    ctl::Ctl,
};

/// Everything of one test. Ended and removed when dropped: the agents first, then the cloud, then the folder.
pub struct Fleet {
    /// The agents, in the order of joining.
    pub agents: Vec<Agent>,
    /// Logged in as admin.
    pub ctl: Ctl,
    /// The cloud.
    pub cloud: Cloud,
    folder: TempDir,
}

impl Fleet {
    /// Starts a cloud on SQLite and these agents: pairs of name and labels (`env=prod,dc=bj`).
    ///
    /// # Errors
    /// Something did not come up.
    pub fn start(agents: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(agents, |_| {})
    }

    /// The same, with a say in how the cloud is started.
    ///
    /// # Errors
    /// Something did not come up.
    pub fn start_with(agents: &[(&str, &str)], adjust: impl FnOnce(&mut cloud::Options)) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("opslink-").tempdir()?;
        let mut options = cloud::Options::new(folder.path().join("cloud"));
        adjust(&mut options);
        let password = options.password.clone();
        let cloud = Cloud::start(options)?;
        let ctl = Ctl::login(&cloud, folder.path().join("ctl"), &password)?;
        let mut fleet = Self {
            agents: Vec::new(),
            ctl,
            cloud,
            folder,
        };
        for (name, labels) in agents {
            fleet.add_agent(name, labels)?;
        }
        Ok(fleet)
    }

    /// Joins and starts one more agent, with an embedded SQLite database as its only connection.
    ///
    /// # Errors
    /// It did not join or did not come up.
    pub fn add_agent(&mut self, name: &str, labels: &str) -> Result<&mut Agent> {
        let url = self.cloud.url.clone();
        let mut agent = self.join_agent(name, labels, &url)?;
        agent.start()?;
        self.agents.push(agent);
        self.agents.last_mut().context("the agent that was just added")
    }

    /// Joins an agent by way of this URL (a proxy, say) and does not start it.
    ///
    /// # Errors
    /// It did not join.
    pub fn join_agent(&self, name: &str, labels: &str, url: &str) -> Result<Agent> {
        let token = join_token(&self.ctl, name, labels)?;
        let agent = Agent::join(name, self.path(name), url, &token)?;
        let database = agent.state().join("demo.db");
        agent.set_connections(&[("main", &format!("sqlite://{}", database.display()))])?;
        Ok(agent)
    }

    /// Returns one of the agents.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn agent(&mut self, name: &str) -> Result<&mut Agent> {
        self.agents
            .iter_mut()
            .find(|agent| agent.name == name)
            .with_context(|| format!("no agent {name}"))
    }

    /// Returns a path in the fleet's own folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Makes a join token for an agent of this name and these labels.
///
/// # Errors
/// The cloud refused.
pub fn join_token(ctl: &Ctl, name: &str, labels: &str) -> Result<String> {
    let labels: serde_json::Map<String, serde_json::Value> = labels
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let answer = ctl.api(
        "opslink.v1.AgentService/CreateJoinToken",
        &json!({ "agentName": name, "labels": labels }),
    )?;
    let token = answer.get("token").and_then(|token| token.as_str());
    token.map(str::to_owned).context("token in the answer")
}
