//! The program `opslink-cloud`: options in, [`opslink_cloud::server`] runs, signals stop it.

use std::{
    io::{IsTerminal, Write},
    process::{ExitCode, Termination},
};

use clap::Parser;
use opslink::{locale::Language, problem::Problem, reason::Reason};
use opslink_cloud::{
    config::{Cli, Command, Serve},
    server::{self, Running},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> impl Termination {
    let Command::Serve(config) = Cli::parse().command;
    start_log(config.log_json);
    // Whatever is made from here on is for its owner only, also what a database makes later.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Problem::new(Reason::Internal).with("detail", error)),
    };
    let code = match runtime.block_on(serve(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(&problem),
    };
    // A blocked thread (a password being hashed) must not keep the process alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// Takes as many open files as the system gives: each agent is one, and so is each silent connection of a stranger.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, hard, "the limit of open files was not raised");
    }
}

async fn serve(config: &Serve) -> Result<(), Problem> {
    let no_signals = |error| Problem::new(Reason::Internal).with("detail", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;

    let running = server::run(config).await?;
    announce(config, &running);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Without a farewell: whatever we still wrote would be beside what the other one writes.
        problem = running.must_end() => return Err(problem),
    }
    tracing::info!("stopping");
    tokio::select! {
        () = running.shutdown() => {}
        // Whoever asks twice is in a hurry.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Says on stderr where people go, and on stdout, if asked, where programs go.
fn announce(config: &Serve, running: &Running) {
    let mut talk = std::io::stderr().lock();
    // Nobody reading is no reason to stop.
    let _ = writeln!(talk, "OpsLink cloud {} on {}", env!("CARGO_PKG_VERSION"), running.url);
    if let Some(plain) = &running.plain_url {
        let _ = writeln!(talk, "console without TLS, this machine only: {plain}");
    }
    let _ = writeln!(
        talk,
        "CA SHA-256 {} ({})",
        running.ca_sha256,
        config.data.join("ca.pem").display()
    );
    if let Some(first) = &running.first_password {
        let _ = writeln!(
            talk,
            "first login: {} / {}\n  to be changed at the first login; also in {}",
            first.name,
            first.password,
            config.data.join("initial-password").display()
        );
    }
    if config.ready_json {
        let line = serde_json::json!({
            "ready": true,
            "url": running.url,
            "plain_url": running.plain_url,
            "ca_sha256": running.ca_sha256,
        });
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}");
        let _ = out.flush();
    }
}

fn start_log(json: bool) {
    // The database layer logs each statement at info or debug; that is not for the log of a service.
    let filter = EnvFilter::try_from_env("OPSLINK_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,sea_orm=warn,sea_orm_migration=warn,h2=warn,hyper=warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if json {
        log.json().init();
    } else {
        log.init();
    }
}

/// Says in three lines what is wrong.
fn fail(problem: &Problem) -> ExitCode {
    let language = Language::of_environment(|name| std::env::var(name).ok());
    let _ = writeln!(std::io::stderr().lock(), "{}", problem.report(language));
    ExitCode::from(problem.reason.exit_code())
}
