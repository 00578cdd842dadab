//! The fake executor: scripted pretence of work, for tests and benchmarks. Whether an agent offers it is its policy's
//! business.

use std::fmt::Write;

use async_trait::async_trait;
use bytes::Bytes;
use opslink::{
    event::{Event, EventBody, Stream},
    kind::{FakeSpec, FakeStep},
    reason::Reason,
    task::ExecutionState,
    time::UnixMicros,
};

use super::{Context, Failure, Finish, KindExecutor};

#[cfg(test)]
mod conformance;

/// Length of a flood's lines, line end included.
const LINE_BYTES: u64 = 100;

/// Lines of one event of a flood: near the size of a pipe read.
const LINES_PER_EVENT: u64 = 655;

/// See the module.
pub(super) struct Fake;

#[async_trait]
impl KindExecutor for Fake {
    type Spec = FakeSpec;

    fn validate(&self, spec: &FakeSpec) -> Result<(), Failure> {
        let steps = &spec.steps;
        let last = steps
            .iter()
            .position(|step| matches!(step, FakeStep::Exit(_) | FakeStep::Fail(_)));
        match last {
            Some(at) if at + 1 < steps.len() => Err(Failure::new(
                Reason::InvalidArgument.code(),
                format!("step {} ends the work, but is not the last", at + 1),
            )),
            Some(_) | None => Ok(()),
        }
    }

    async fn run(&self, spec: &FakeSpec, ctx: &Context) -> Result<Finish, Failure> {
        for step in &spec.steps {
            match step {
                FakeStep::Sleep(time) => tokio::select! {
                    () = tokio::time::sleep(*time) => {}
                    () = ctx.cancel.cancelled() => {}
                },
                FakeStep::Stubborn(time) => tokio::time::sleep(*time).await,
                FakeStep::Stdout(data) => output(ctx, Stream::Stdout, data.clone()).await,
                FakeStep::Stderr(data) => output(ctx, Stream::Stderr, data.clone()).await,
                FakeStep::Flood(bytes) => flood(ctx, *bytes).await,
                FakeStep::Exit(0) => return Ok(Finish::succeeded(Some(0))),
                FakeStep::Exit(code) => return Ok(exited(*code)),
                FakeStep::Fail(message) => return Err(Failure::new(Reason::ExecutorFailed.code(), message.clone())),
            }
            if ctx.cancel.is_cancelled() {
                return Ok(exited(143));
            }
        }
        Ok(Finish::succeeded(Some(0)))
    }
}

fn exited(code: i32) -> Finish {
    Finish {
        state: ExecutionState::Failed,
        exit_code: Some(code),
        signal: None,
        reason: Reason::ExitNonzero.code().to_owned(),
        message: format!("ended with exit code {code}"),
    }
}

async fn output(ctx: &Context, stream: Stream, data: Bytes) {
    ctx.sink
        .emit(Event {
            time_us: UnixMicros::now().0,
            body: EventBody::Output { stream, data },
        })
        .await;
}

async fn flood(ctx: &Context, bytes: u64) {
    let mut line = 0;
    let mut left = bytes;
    while left > 0 && !ctx.cancel.is_cancelled() {
        let mut text = flood_lines(line, LINES_PER_EVENT);
        line += LINES_PER_EVENT;
        text.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= text.len() as u64;
        output(ctx, Stream::Stdout, text.into()).await;
        // A flood has no other point at which somebody else gets a turn.
        tokio::task::yield_now().await;
    }
}

/// The lines `first ..` of a flood: each tells its number, so that a lost or repeated one is seen.
fn flood_lines(first: u64, count: u64) -> String {
    let mut text = String::with_capacity(usize::try_from(count * LINE_BYTES).unwrap_or(0));
    for line in first..first + count {
        // Number (12), then filler up to the line end. Writing to a String cannot fail.
        writeln!(
            text,
            "{line:012} the quick brown fox jumps over the lazy dog, and the log goes on and on and on. {:>6}",
            line % 997
        )
        .ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_lines_are_100_bytes_and_numbered() {
        let text = flood_lines(7, 3);
        assert_eq!(text.len() as u64, 3 * LINE_BYTES, "{text}");
        assert!(text.lines().nth(2).unwrap().starts_with("000000000009 "));
    }
}
