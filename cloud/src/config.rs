//! Options of the program; each can also be given as `OPSLINK_CLOUD_*` in the environment.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use opslink::duration;

use crate::pki::AgentCertificates;

/// The OpsLink cloud.
#[derive(Debug, Parser)]
#[command(
    name = "opslink-cloud",
    version,
    about = "The OpsLink cloud: agents, people and programs meet here"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the cloud until SIGTERM or Ctrl-C.
    Serve(Box<Serve>),
}

/// Options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Folder for the database, the CA certificate and the first password.
    #[arg(
        long,
        value_name = "DIR",
        env = "OPSLINK_CLOUD_DATA",
        default_value = "/var/lib/opslink-cloud"
    )]
    pub data: PathBuf,

    /// Address of the TLS port: agents, console, cloudctl, gRPC, gRPC-web.
    #[arg(
        long,
        value_name = "ADDR",
        env = "OPSLINK_CLOUD_LISTEN",
        default_value = "127.0.0.1:7443"
    )]
    pub listen: SocketAddr,

    /// Address of a second port without TLS; loopback only, for a console without certificate warning.
    #[arg(long, value_name = "ADDR", env = "OPSLINK_CLOUD_PLAIN_LISTEN")]
    pub plain_listen: Option<SocketAddr>,

    /// PostgreSQL instead of the embedded database: postgres://user:password@host/database.
    #[arg(long, value_name = "URL", env = "OPSLINK_CLOUD_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// URL that agents and clients use, when it is not the listen address.
    #[arg(long, value_name = "URL", env = "OPSLINK_CLOUD_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// More names and addresses for the server's certificate.
    #[arg(
        long = "name",
        value_name = "NAME",
        env = "OPSLINK_CLOUD_NAMES",
        value_delimiter = ','
    )]
    pub names: Vec<String>,

    /// How long agents' certificates live: 5s to 90d. They are renewed at half of this, over the link.
    #[arg(
        long,
        value_name = "DURATION",
        env = "OPSLINK_CLOUD_AGENT_CERTIFICATE_TTL",
        default_value = "24h",
        value_parser = certificate_ttl
    )]
    pub agent_certificate_ttl: Duration,

    /// How long after the end of its certificate an agent that was away may still come back by itself, without a join
    /// token: up to 365d; 0 is never.
    #[arg(
        long,
        value_name = "DURATION",
        env = "OPSLINK_CLOUD_EXPIRED_CERTIFICATE_WINDOW",
        default_value = "30d",
        value_parser = expired_window
    )]
    pub expired_certificate_window: Duration,

    /// How long an agent may be away until what it was doing is given up as lost: 1m to 365d.
    #[arg(
        long,
        value_name = "DURATION",
        env = "OPSLINK_CLOUD_LOST_AFTER",
        default_value = "7d",
        value_parser = lost_after
    )]
    pub lost_after: Duration,

    /// For demos and tests: makes the first admin with this password, which needs no change.
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "OPSLINK_CLOUD_DEV_ADMIN_PASSWORD",
        hide_env_values = true,
        hide = true
    )]
    pub dev_admin_password: Option<String>,

    /// Prints one line of JSON on stdout when ready.
    #[arg(long, env = "OPSLINK_CLOUD_READY_JSON")]
    pub ready_json: bool,

    /// Writes the log as JSON lines.
    #[arg(long, env = "OPSLINK_CLOUD_LOG_JSON")]
    pub log_json: bool,
}

impl Serve {
    /// Options of an in-process cloud on free ports of loopback, for tests.
    pub fn for_tests(data: PathBuf) -> Self {
        let terms = AgentCertificates::default();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data,
            listen: any,
            plain_listen: Some(any),
            database_url: None,
            public_url: None,
            names: Vec::new(),
            agent_certificate_ttl: terms.lifetime,
            expired_certificate_window: terms.window,
            lost_after: crate::task::Config::default().lost_after,
            dev_admin_password: Some("correct-horse-battery".to_owned()),
            ready_json: false,
            log_json: false,
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn certificate_ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration::parse(text)?;
    // Seconds are for tests: agents would do little else than renew.
    if ttl < Duration::from_secs(5) || ttl > DAY * 90 {
        return Err(format!("`{text}` is not between 5s and 90d"));
    }
    Ok(ttl)
}

fn expired_window(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") {
        return Ok(Duration::ZERO);
    }
    let window = duration::parse(text)?;
    if window > DAY * 365 {
        return Err(format!("`{text}` is more than 365d"));
    }
    Ok(window)
}

fn lost_after(text: &str) -> Result<Duration, String> {
    let after = duration::parse(text)?;
    if after < Duration::from_secs(60) || after > DAY * 365 {
        return Err(format!("`{text}` is not between 1m and 365d"));
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn terms_of_certificates_have_limits() {
        let parse = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["opslink-cloud", "serve"], args].concat());
            cli.map(|cli| {
                let Command::Serve(serve) = cli.command;
                (serve.agent_certificate_ttl, serve.expired_certificate_window)
            })
        };
        assert_eq!(parse(&[]).unwrap(), (DAY, DAY * 30));
        let given = parse(&["--agent-certificate-ttl", "1h", "--expired-certificate-window", "0"]);
        assert_eq!(given.unwrap(), (DAY / 24, Duration::ZERO));
        for bad in ["0", "4s", "91d", "day"] {
            assert!(parse(&["--agent-certificate-ttl", bad]).is_err(), "{bad}");
        }
        for bad in ["366d", "-1", "week"] {
            assert!(parse(&["--expired-certificate-window", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_may_be_repeated_or_listed() {
        let cli = Cli::parse_from(["opslink-cloud", "serve", "--name", "a,b", "--name", "10.0.0.1"]);
        let Command::Serve(serve) = cli.command;
        assert_eq!(serve.names, ["a", "b", "10.0.0.1"]);
        assert_eq!(serve.listen.port(), 7443);
    }
}
