//! `cargo xtask bench`: starts real clouds, agents and an sshd, does the same work through both in turn, prints figures.
//!
//! Numbers of one run belong together: the machine is noisy, ratios are what counts. Nothing here passes or fails.

#![expect(clippy::print_stdout, reason = "the table is for the person who asked for it")]

mod attach;
mod client;
mod commits;
mod dispatch;
mod fanout;
mod figure;
mod inserts;
mod logs;
mod memory;
mod queue;
mod sql;
mod ssh;

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use anyhow::{Context, Result};
use clap::Parser;

use figure::Figure;

#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// Figures to measure, by the beginning of their names (all when none is named).
    names: Vec<String>,
    /// Append one JSON line a figure to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One measurement: the figures that it gives, and how.
struct Bench {
    names: &'static [&'static str],
    run: fn() -> Result<Vec<Figure>>,
}

const BENCHES: &[Bench] = &[
    Bench {
        names: &["dispatch_warm", "dispatch_cli"],
        run: dispatch::run,
    },
    Bench {
        names: &["first_line", "log_lines"],
        run: logs::run,
    },
    Bench {
        names: &["sql_rows"],
        run: sql::run,
    },
    Bench {
        names: &["sql_inserts"],
        run: inserts::run,
    },
    Bench {
        names: &["memory_cloud_idle", "memory_agent_idle", "memory_per_agent"],
        run: memory::run,
    },
    Bench {
        names: &["fanout_real_50", "fanout_real_100"],
        run: fanout::real,
    },
    Bench {
        names: &["fanout_10k"],
        run: fanout::simulated,
    },
    Bench {
        names: &["attach_1k"],
        run: attach::run,
    },
    Bench {
        names: &["queue_pump_memory", "queue_pump_statements"],
        run: queue::run,
    },
    Bench {
        names: &["postgres_commits_1", "postgres_commits_8", "postgres_commits_32"],
        run: commits::run,
    },
];

fn main() -> Result<()> {
    let options = Options::parse();
    let mut json = match &options.json {
        Some(path) => Some(
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("open {}", path.display()))?,
        ),
        None => None,
    };
    let wanted =
        |name: &&str| options.names.is_empty() || options.names.iter().any(|asked| name.starts_with(asked.as_str()));
    println!("{}", Figure::HEADING);
    let mut failed = Vec::new();
    for bench in BENCHES.iter().filter(|bench| bench.names.iter().any(wanted)) {
        match (bench.run)() {
            Ok(figures) => {
                for figure in figures {
                    println!("{}", figure.row());
                    if let Some(file) = &mut json {
                        writeln!(file, "{}", figure.json())?;
                    }
                }
            }
            // One figure that cannot be had here does not cost the others.
            Err(error) => failed.push(format!("{}: {error:#}", bench.names.join(", "))),
        }
    }
    for line in &failed {
        println!("not measured: {line}");
    }
    Ok(())
}
