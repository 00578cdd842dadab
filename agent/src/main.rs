//! The `opslink-agent` program: reads the command line and calls the library.

use std::{
    fs::File,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::{Parser, Subcommand};
use opslink::{problem::Problem, reason::Reason};
use opslink_agent::{
    config::StateDir,
    connections::Secret,
    dial::Tcp,
    identity::Identity,
    join::{self, JoinOptions},
    launch::ProcessLauncher,
    run::{Agent, Rules},
    runner::{self, fork_server::Served, process::Runner},
    simulate::{self, SimulateOptions},
};
use tokio_util::sync::CancellationToken;

/// Exit code when only joining again can help: a service manager should not restart the agent then.
const EXIT_REVOKED: u8 = 3;

/// The OpsLink agent: joins a machine to a cloud and runs its tasks.
#[derive(Parser)]
#[command(name = "opslink-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Joins this machine to a cloud with a token from `cloudctl agent join-token create` or the console.
    Join {
        /// The cloud: https://host:7443
        url: String,
        /// The join token. It works once; everybody on this machine can read a command line, so rather use --token-file.
        #[arg(
            long,
            env = "OPSLINK_JOIN_TOKEN",
            hide_env_values = true,
            required_unless_present = "token_file"
        )]
        token: Option<String>,
        /// File with the join token in its first line, - for stdin; wins over --token.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// The name of this machine at the cloud; its host name unless given.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        state: StateArg,
        /// Goes on to run the agent.
        #[arg(long)]
        start: bool,
        /// With --start: prints one line of JSON when the link is up.
        #[arg(long, requires = "start")]
        ready_json: bool,
    },
    /// Runs the agent.
    Run {
        #[command(flatten)]
        state: StateArg,
        /// Prints one line of JSON when the link is up.
        #[arg(long)]
        ready_json: bool,
    },
    /// Holds many agents in one process, for benchmarks.
    #[command(hide = true)]
    Simulate {
        /// The cloud: https://host:7443
        url: String,
        /// How many.
        #[arg(long)]
        agents: usize,
        /// An API token of an admin, for making join tokens.
        #[arg(long, env = "OPSLINK_API_TOKEN", hide_env_values = true)]
        api_token: Option<String>,
        /// SHA-256 of the cloud's CA certificate.
        #[arg(long)]
        ca_sha256: Option<String>,
        /// Where identities are kept for the next time.
        #[arg(long, value_name = "DIR")]
        identities: Option<PathBuf>,
        /// Agents are named with this and a number.
        #[arg(long, default_value = "sim-")]
        prefix: String,
    },
    /// Forgets the cloud and every attempt, so that the machine can join again.
    Reset {
        #[command(flatten)]
        state: StateArg,
    },
}

#[derive(clap::Args)]
struct StateArg {
    /// Where the agent keeps its identity and its journal.
    #[arg(long = "state", env = "OPSLINK_AGENT_STATE", value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl StateArg {
    fn dir(self) -> StateDir {
        self.dir.map_or_else(StateDir::default_for_user, StateDir::new)
    }
}

fn main() -> ExitCode {
    // Every task pays for what stands before this line.
    if let Some(exit) = run_as_runner() {
        return exit;
    }
    let result = match Cli::parse().command {
        Command::Join {
            url,
            token,
            token_file,
            name,
            state,
            start,
            ready_json,
        } => {
            let token = match token_file {
                Some(file) => join::read_token(&file),
                // One of the two is there, or the command line was refused.
                None => Ok(token.unwrap_or_default()),
            };
            token.and_then(|token| join(JoinOptions { url, token, name }, &state.dir(), start, ready_json))
        }
        Command::Run { state, ready_json } => run(&state.dir(), ready_json),
        Command::Reset { state } => reset(&state.dir()),
        Command::Simulate {
            url,
            agents,
            api_token,
            ca_sha256,
            identities,
            prefix,
        } => simulate(&SimulateOptions {
            url,
            agents,
            api_token: api_token.map(Secret::new),
            ca_sha256,
            identities,
            prefix,
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&join::report(&problem));
            match problem.reason {
                Reason::CertificateRevoked | Reason::AgentRemoved => ExitCode::from(EXIT_REVOKED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// `opslink-agent fork-server --socket <path>`, and `opslink-agent runner <attempt dir> --socket <path>`, which runs one
/// attempt without the server.
fn run_as_runner() -> Option<ExitCode> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let ended = match args.as_slice() {
        [word, flag, socket] if word == "fork-server" && flag == "--socket" => fork_server(socket.as_ref()),
        [word, dir, flag, socket] if word == "runner" && flag == "--socket" => {
            Runner::prepare().and_then(|runner| runner.run(dir.as_ref(), socket.as_ref()))
        }
        [word, ..] if word == "fork-server" || word == "runner" => {
            say("runners are started by the agent");
            return Some(ExitCode::from(2));
        }
        _ => return None,
    };
    match ended {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            say(&opslink_agent::dial::chain_text(&error));
            Some(ExitCode::FAILURE)
        }
    }
}

/// The server, and every process that it forks.
fn fork_server(socket: &Path) -> Result<(), runner::process::Error> {
    match runner::fork_server::serve().map_err(runner::process::Error::ForkServer)? {
        Served::Done => Ok(()),
        Served::Spare(spare) => {
            let runner = Runner::prepare()?;
            match spare.attempt().map_err(runner::process::Error::ForkServer)? {
                Some(dir) => runner.run(&dir, socket),
                None => Ok(()),
            }
        }
    }
}

fn join(options: JoinOptions, state: &StateDir, start: bool, ready_json: bool) -> Result<(), Problem> {
    let identity = runtime()?.block_on(join::join(&options, state, &Tcp::from_env()))?;
    say(&format!("joined as {} ({})", identity.agent_name, identity.agent_id));
    if start {
        return run(state, ready_json);
    }
    say(&format!("start it with: {}", join::start_line(state)));
    Ok(())
}

fn reset(state: &StateDir) -> Result<(), Problem> {
    if !state.path().exists() {
        return Err(Problem::new(Reason::NotJoined).with("path", state.path().display()));
    }
    let _lock = lock(state)?;
    join::reset(state)?;
    say("this machine has forgotten its cloud; policy and connections were kept");
    Ok(())
}

fn run(state: &StateDir, ready_json: bool) -> Result<(), Problem> {
    let path = state.path().display().to_string();
    let identity = Identity::load(&state.identity()).map_err(|error| match error {
        opslink_agent::identity::Error::Missing { .. } => Problem::new(Reason::NotJoined).with("path", &path),
        other => unusable(state, &other),
    })?;
    state.prepare().map_err(|error| unusable(state, &error))?;
    let _lock = lock(state)?;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(log_level())
        .init();
    runtime()?.block_on(async {
        let program = std::env::current_exe().map_err(|error| unusable(state, &error))?;
        let launcher = Arc::new(ProcessLauncher::open(state, program).map_err(|error| unusable(state, &error))?);
        launcher.warm_up().await;
        let stop = stop_on_signals().map_err(|error| unusable(state, &error))?;
        let told = AtomicBool::new(!ready_json);
        let ready = format!(
            r#"{{"ready":true,"agent_id":"{}","agent_name":"{}"}}"#,
            identity.agent_id, identity.agent_name
        );
        let agent = Agent {
            identity,
            identity_path: Some(state.identity()),
            launcher,
            rules: Rules::Files {
                policy: state.policy(),
                connections: state.connections(),
            },
            connect: Arc::new(Tcp::from_env()),
            on_up: Box::new(move || {
                if !told.swap(true, Ordering::Relaxed) {
                    // Nobody may be reading: that is no reason to stop.
                    writeln!(std::io::stdout().lock(), "{ready}").ok();
                }
            }),
        };
        agent.run(stop).await
    })
}

/// Prints one line of JSON when every agent was welcomed, then holds them until it is told to stop.
fn simulate(options: &SimulateOptions) -> Result<(), Problem> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let internal = |error: std::io::Error| Problem::new(Reason::Internal).with("detail", error);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(internal)?;
    runtime.block_on(async {
        let stop = stop_on_signals().map_err(internal)?;
        let ready = || {
            writeln!(
                std::io::stdout().lock(),
                r#"{{"ready":true,"agents":{}}}"#,
                options.agents
            )
            .ok();
        };
        simulate::simulate(options, stop, ready).await
    })
}

/// One agent per state folder.
fn lock(state: &StateDir) -> Result<File, Problem> {
    let file = File::create(state.lock()).map_err(|error| unusable(state, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Problem::new(Reason::StateFolderLocked).with("path", state.path().display()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(unusable(state, &error)),
    }
}

/// One thread: an agent waits most of its life, and a small process starts others quickly.
fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build()
        .map_err(|error| Problem::new(Reason::Internal).with("detail", error))
}

/// Fires on SIGTERM, SIGINT and SIGHUP. Runners go on: the next agent adopts them.
fn stop_on_signals() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        // Lives as long as the process.
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

fn log_level() -> tracing::Level {
    std::env::var("OPSLINK_LOG")
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(tracing::Level::INFO)
}

fn unusable(state: &StateDir, error: &(dyn std::error::Error + 'static)) -> Problem {
    Problem::new(Reason::StateFolderUnusable)
        .with("path", state.path().display())
        .with("detail", opslink_agent::dial::chain_text(error))
}

fn say(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
