//! Output: how much per second, and how soon.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use opslink_harness::Fleet;

use crate::{figure::Figure, ssh::Ssh};

const LINES: usize = 1_000_000;
const LINE_BYTES: usize = 100;
const ROUNDS: usize = 5;
/// Each line says when it was printed.
const SLOW: &str = "for i in 1 2 3 4 5 6 7 8 9 10; do date +%s%N; sleep 0.1; done";

pub(crate) fn run() -> Result<Vec<Figure>> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let ssh = Ssh::start().ok();
    let producer = fleet.path("lines.txt");
    // Numbered lines: as compressible as logs are, and none like the other.
    let text: String = (0..LINES)
        .map(|n| {
            format!(
                "{n:>12} {}\n",
                "the quick brown fox jumps over the lazy dog and writes a line of its log"
                    .repeat(2)
                    .get(..86)
                    .unwrap_or_default()
            )
        })
        .collect();
    ensure!(
        text.len() == LINES * LINE_BYTES,
        "a line has {} bytes",
        text.len() / LINES
    );
    std::fs::write(&producer, &text)?;
    let file = producer.display().to_string();

    let (mut ours, mut mux, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(rate(
            &mut fleet.ctl.command(["run", "shell", "-a", "prod", "--", "cat", &file])?,
            (round == 0).then_some(&text),
        )?);
        if let Some(ssh) = &ssh {
            mux.push(rate(ssh.mux().args(["cat", &file]), None)?);
            plain.push(rate(ssh.plain().args(["cat", &file]), None)?);
        }
    }

    let (mut first, mut first_mux) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        first.extend(delays(
            &mut fleet
                .ctl
                .command(["run", "shell", "-a", "prod", "--", "sh", "-c", SLOW])?,
        )?);
        if let Some(ssh) = &ssh {
            first_mux.extend(delays(ssh.mux().arg(SLOW))?);
        }
    }
    Ok(vec![
        Figure::new("log_lines", "MB/s", ours)
            .beside("ssh mux", mux)
            .beside("ssh", plain),
        Figure::new("first_line", "ms", first).beside("ssh mux", first_mux),
    ])
}

/// Megabytes per second of a command that prints all the lines; the bytes are compared once.
fn rate(command: &mut Command, expected: Option<&String>) -> Result<f64> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().context("stdout")?;
    let mut total = 0;
    let mut kept = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = stdout.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        total += read;
        if expected.is_some() {
            kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    ensure!(
        child.wait()?.success() && total == LINES * LINE_BYTES,
        "{total} bytes came back"
    );
    ensure!(
        expected.is_none_or(|text| kept == text.as_bytes()),
        "the bytes that came back are others"
    );
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(total as f64 / seconds / 1e6)
}

/// Milliseconds from the printing of each line to its arrival here.
fn delays(command: &mut Command) -> Result<Vec<f64>> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut delays = Vec::new();
    for line in BufReader::new(child.stdout.take().context("stdout")?).lines() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let printed = line?.trim().parse::<f64>()? / 1e9;
        delays.push((now - printed) * 1e3);
    }
    child.wait()?;
    Ok(delays)
}
