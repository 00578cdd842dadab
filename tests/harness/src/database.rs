//! Real databases in temporary folders: PostgreSQL and MariaDB, each on a free port of loopback.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::unistd::User;
use tempfile::TempDir;

use crate::{
    process,
    programs::{is_root, postgres, which},
    wait::wait_for,
};

/// A running database server. It is ended and its folder removed when this is dropped.
pub struct Database {
    kind: Kind,
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    MariaDb,
}

/// Password of the user `ops` in every database that is started here.
pub const PASSWORD: &str = "harness-secret";

impl Database {
    /// Starts PostgreSQL with an empty database `ops` of the user `ops`.
    ///
    /// # Errors
    /// It is not installed or does not come up.
    pub fn postgres() -> Result<Self> {
        let mut database = Self::new(Kind::Postgres)?;
        let data = database.folder.path().join("data");
        let password = database.folder.path().join("password");
        fs::write(&password, PASSWORD)?;
        hand_over(database.folder.path(), "postgres")?;
        hand_over(&password, "postgres")?;
        let initdb = postgres("initdb").context("PostgreSQL is not installed: apt-get install postgresql")?;
        let mut command = as_user("postgres", &initdb)?;
        command.args([
            "--username=ops",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        command.arg("--pwfile").arg(&password).arg("-D").arg(&data);
        process::output(&mut command)?;
        database.launch()?;
        database.client("CREATE DATABASE ops")?;
        Ok(database)
    }

    /// Starts MariaDB with an empty database `ops` of the user `ops`.
    ///
    /// # Errors
    /// It is not installed or does not come up.
    pub fn mariadb() -> Result<Self> {
        let mut database = Self::new(Kind::MariaDb)?;
        let data = database.folder.path().join("data");
        let install = which(&["mariadb-install-db", "mysql_install_db"])
            .context("MariaDB is not installed: apt-get install mariadb-server")?;
        hand_over(database.folder.path(), "mysql")?;
        let mut command = Command::new(install);
        command.args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ]);
        if is_root() {
            command.arg("--user=mysql");
        }
        // Two that are made at once would take each other's temporary tables in /tmp away.
        command.env("TMPDIR", database.folder.path());
        process::output(command.arg(format!("--datadir={}", data.display())))?;
        database.launch()?;
        database.client(&format!(
            "CREATE DATABASE ops; CREATE USER ops@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO ops@'127.0.0.1'"
        ))?;
        Ok(database)
    }

    fn new(kind: Kind) -> Result<Self> {
        // The port is free now; the server takes it a moment later.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::Builder::new().prefix("opslink-db-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            kind,
            child: None,
            port,
            folder,
        })
    }

    fn launch(&mut self) -> Result<()> {
        let folder = self.folder.path();
        let data = folder.join("data");
        let mut command = match self.kind {
            Kind::Postgres => {
                let mut command = as_user("postgres", &postgres("postgres").context("postgres is not installed")?)?;
                command
                    .arg("-D")
                    .arg(&data)
                    .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k"])
                    .arg(folder);
                // Enough for tests that open many pools at once; no fsync, since nothing here outlives the test.
                command.args(["-c", "max_connections=200", "-c", "fsync=off"]);
                command
            }
            Kind::MariaDb => {
                let mut command = Command::new(which(&["mariadbd", "mysqld"]).context("mariadbd is not installed")?);
                command
                    .env("TMPDIR", folder)
                    .arg("--no-defaults")
                    .arg(format!("--datadir={}", data.display()));
                command
                    .arg(format!("--port={}", self.port))
                    .arg("--bind-address=127.0.0.1");
                command.arg(format!("--socket={}", folder.join("mysql.sock").display()));
                command.args(["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"]);
                if is_root() {
                    command.arg("--user=mysql");
                }
                command
            }
        };
        let log = folder.join("log");
        let child = command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .stderr(fs::OpenOptions::new().append(true).open(&log)?)
            .spawn()
            .context("start the database")?;
        self.child = Some(child);
        if wait_for("the database to answer", Duration::from_secs(60), || {
            self.client("SELECT 1").is_ok()
        })
        .is_err()
        {
            bail!(
                "the database does not answer; it said:\n{}",
                process::tail(&fs::read_to_string(&log)?, 20)
            );
        }
        Ok(())
    }

    /// Runs SQL with the database's own client, as its administrator.
    ///
    /// # Errors
    /// The client failed; what it said is in the message.
    pub fn client(&self, sql: &str) -> Result<String> {
        match self.kind {
            Kind::Postgres => {
                let database = if sql.starts_with("CREATE DATABASE") || sql == "SELECT 1" {
                    "postgres"
                } else {
                    "ops"
                };
                let psql = postgres("psql").context("psql is not installed")?;
                let mut command = Command::new(psql);
                command.args([
                    "-X",
                    "-At",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "ops",
                    "-d",
                    database,
                ]);
                command
                    .args(["-p", &self.port.to_string(), "-c", sql])
                    .env("PGPASSWORD", PASSWORD);
                process::output(&mut command)
            }
            Kind::MariaDb => {
                let client = which(&["mariadb", "mysql"]).context("the MariaDB client is not installed")?;
                let mut command = Command::new(client);
                command.args(["--no-defaults", "-u", "root", "-N", "-B", "-e", sql]);
                command.arg(format!("--socket={}", self.folder.path().join("mysql.sock").display()));
                process::output(&mut command)
            }
        }
    }

    /// Returns the URL that a connections file wants, with the password in it.
    pub fn url(&self) -> String {
        self.url_with(PASSWORD)
    }

    /// The same with another password.
    pub fn url_with(&self, password: &str) -> String {
        let scheme = match self.kind {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        };
        format!("{scheme}://ops:{password}@127.0.0.1:{}/ops", self.port)
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let signal = if self.kind == Kind::Postgres { "-QUIT" } else { "-KILL" };
            let _ = Command::new("kill").args([signal, &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same data and port.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.launch()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.kill();
    }
}

/// PostgreSQL refuses to run as root; Debian's packages made a user for it.
fn as_user(user: &str, program: &Path) -> Result<Command> {
    if !is_root() {
        return Ok(Command::new(program));
    }
    if User::from_name(user)?.is_none() {
        bail!("there is no user `{user}` to run {} as", program.display());
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", user, "--regid", user, "--clear-groups", "--"])
        .arg(program);
    Ok(command)
}

fn hand_over(path: &Path, user: &str) -> Result<()> {
    if is_root() {
        let user = User::from_name(user)?.with_context(|| format!("there is no user `{user}`"))?;
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(())
}
