//! The peer: an sshd on loopback, plain and with a warm mux.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use opslink_harness::{process, programs::which, wait_for};
use tempfile::TempDir;

/// A running sshd with one warm master connection.
pub(crate) struct Ssh {
    server: Child,
    port: u16,
    folder: TempDir,
}

impl Ssh {
    /// Starts it with keys of its own.
    pub(crate) fn start() -> Result<Self> {
        let sshd = which(&["sshd"]).context("sshd is not installed")?;
        let folder = tempfile::Builder::new().prefix("opslink-ssh-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        for key in ["host", "user"] {
            let file = folder.path().join(key);
            process::output(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                    .arg(file),
            )?;
        }
        fs::copy(folder.path().join("user.pub"), folder.path().join("authorized_keys"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = folder.path().join("sshd_config");
        let path = |name: &str| folder.path().join(name).display().to_string();
        // Another home: a login shell's start-up files are not what is measured.
        fs::write(
            &config,
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
                 StrictModes no\nSetEnv HOME=/\nPermitRootLogin yes\nMaxSessions 1000\nMaxStartups 1000\n",
                path("host"),
                path("authorized_keys")
            ),
        )?;
        // Debian's sshd wants this folder, which its unit would make.
        let _ = fs::create_dir_all("/run/sshd");
        let server = Command::new(sshd)
            .arg("-D")
            .arg("-f")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()?;
        let ssh = Self { server, port, folder };
        wait_for("sshd to listen", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        process::output(
            ssh.base()
                .args(["-M", "-N", "-f", "-S"])
                .arg(ssh.socket())
                .arg("127.0.0.1"),
        )?;
        Ok(ssh)
    }

    /// `ssh HOST …` over a new connection.
    pub(crate) fn plain(&self) -> Command {
        let mut command = self.base();
        command.args(["-S", "none", "127.0.0.1"]);
        command
    }

    /// `ssh HOST …` over the warm master.
    pub(crate) fn mux(&self) -> Command {
        let mut command = self.base();
        command.arg("-S").arg(self.socket()).arg("127.0.0.1");
        command
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("mux")
    }

    fn base(&self) -> Command {
        let mut command = Command::new("ssh");
        command
            .arg("-F")
            .arg("none")
            .arg("-i")
            .arg(self.folder.path().join("user"));
        command.args([
            "-p",
            &self.port.to_string(),
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        command
            .args(["-o", "LogLevel=ERROR", "-o", "BatchMode=yes"])
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self
            .base()
            .args(["-O", "exit", "-S"])
            .arg(self.socket())
            .arg("127.0.0.1")
            .stderr(Stdio::null())
            .status();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
