//! `cargo xtask`: every developer command. `demo` and `test` are the README's two; both set up what they need.

#![expect(
    clippy::print_stdout,
    reason = "the output of these commands is for the person who typed them"
)]

mod bench;
mod demo;
mod lint;
mod paths;
mod step;
mod test;
mod tools;
mod ui;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of OpsLink")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything, start a cloud and three agents, run the main job, stay up.
    Demo(demo::Options),
    /// Install what the tests need and run them all, or only the named groups.
    Test(test::Options),
    /// Build the web console into ui-leptos/dist.
    Ui(ui::Options),
    /// Measure, and print a table (and JSON lines with --json).
    Bench(bench::Options),
    /// Format check, the proto files (buf), clippy with warnings denied, the console for wasm32.
    Lint,
    /// Format the code.
    Fmt,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Ui(options) => ui::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Lint => lint::run(),
        Command::Fmt => lint::format(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
