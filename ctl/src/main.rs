//! `cloudctl`: the command line of OpsLink. Everything is in the library; see [`cloudctl`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cloudctl::main()
}
