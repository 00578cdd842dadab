//! Tools that the tests need and the machine may lack. Each says how it is installed; all are kept between checkouts.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use opslink_harness::{
    process,
    programs::{self, cache, is_root, which},
};

use crate::paths;

/// A real part that some test group needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Servers and client of PostgreSQL 15 or newer.
    Postgres,
    /// Server of MariaDB.
    MariaDb,
    /// OpenSSH server and client: the peer of the benchmarks.
    Ssh,
    /// A browser without a window.
    Chromium,
    /// A foreign gRPC client, built from the Go module proxy.
    Grpcurl,
    /// Another foreign gRPC client, in Python.
    PythonGrpc,
    /// The packages of tests/browser.
    BrowserTests,
    /// The linter of the proto files.
    Buf,
    /// The compile target of the console.
    WasmTarget,
    /// The right to mount file systems.
    Mount,
}

impl Tool {
    /// Installs it unless it is there.
    ///
    /// # Errors
    /// It cannot be had on this machine; the message says why and what would help.
    pub(crate) fn ensure(self) -> Result<()> {
        match self {
            Self::Postgres => debian("postgresql", || programs::postgres("initdb").is_some()),
            Self::MariaDb => debian("mariadb-server", || which(&["mariadbd", "mysqld"]).is_some()),
            Self::Ssh => debian("openssh-server", || which(&["sshd"]).is_some() && on_path("ssh-keygen")),
            Self::Chromium => debian("chromium", || {
                which(&["chromium", "chromium-browser", "google-chrome"]).is_some()
            }),
            Self::Grpcurl => grpcurl(),
            Self::PythonGrpc => python_grpc(),
            Self::BrowserTests => npm_packages(&paths::root().join("tests/browser")),
            Self::Buf => npm_packages(&paths::root().join("xtask/buf")),
            Self::WasmTarget => wasm_target(),
            Self::Mount if is_root() => Ok(()),
            Self::Mount => bail!("mounting a file system needs root"),
        }
    }
}

/// Returns the folder where built tools live.
pub(crate) fn bin_folder() -> PathBuf {
    cache().join("tools/bin")
}

fn debian(package: &str, present: impl Fn() -> bool) -> Result<()> {
    if present() {
        return Ok(());
    }
    if !on_path("apt-get") {
        bail!("{package} is not installed and this is not a Debian: install it by hand");
    }
    if !is_root() {
        bail!("{package} is not installed and only root can: sudo apt-get install {package}");
    }
    println!("    installing {package} from Debian …");
    let quiet = |args: &[&str]| {
        process::output(
            Command::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
        .map(drop)
    };
    let install = ["install", "-y", "-q", "--no-install-recommends", package];
    // The package lists of a new machine are empty or old: then the first try fails.
    quiet(&install).or_else(|_| quiet(&["update", "-q"]).and_then(|()| quiet(&install)))?;
    if !present() {
        bail!("{package} was installed, and its programs are still not found");
    }
    Ok(())
}

fn grpcurl() -> Result<()> {
    let file = bin_folder().join("grpcurl");
    if file.is_file() || on_path("grpcurl") {
        return Ok(());
    }
    if !on_path("go") {
        bail!("grpcurl is not installed, and without Go it cannot be built: install either");
    }
    println!("    building grpcurl (about a minute) …");
    std::fs::create_dir_all(bin_folder())?;
    process::output(
        Command::new("go")
            .args(["install", "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"])
            .env("GOBIN", bin_folder()),
    )?;
    Ok(())
}

fn python_grpc() -> Result<()> {
    let python = programs::python();
    let works =
        |python: &Path| process::output(Command::new(python).args(["-c", "import grpc, grpc_reflection"])).is_ok();
    if works(&python) {
        return Ok(());
    }
    println!("    installing grpcio for Python …");
    let folder = cache().join("tools/python");
    process::output(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    process::output(Command::new(&python).args(["-m", "pip", "install", "-q", "grpcio", "grpcio-reflection"]))?;
    if !works(&python) {
        bail!("grpcio was installed and cannot be imported");
    }
    Ok(())
}

/// Installs the locked npm packages of a folder, unless that was done for this lock file.
pub(crate) fn npm_packages(folder: &Path) -> Result<()> {
    if !on_path("npm") {
        bail!("npm is not installed: install Node.js 20 or newer");
    }
    let lock = std::fs::read(folder.join("package-lock.json")).context("read package-lock.json")?;
    let done = folder.join("node_modules/.opslink-lock");
    if std::fs::read(&done).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    println!("    npm ci in {} …", folder.display());
    process::output(
        Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts=false"])
            .current_dir(folder),
    )?;
    std::fs::write(done, lock)?;
    Ok(())
}

fn wasm_target() -> Result<()> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim())
        .join("lib/rustlib/wasm32-unknown-unknown")
        .is_dir()
    {
        return Ok(());
    }
    println!("    rustup target add wasm32-unknown-unknown …");
    process::output(Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"])).map(drop)
}

fn on_path(program: &str) -> bool {
    which(&[program]).is_some()
}
