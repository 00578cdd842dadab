//! The core of the runner: one attempt, without disk, link or process of its own.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures::FutureExt;
use opslink::{
    id::AttemptId,
    pb,
    reason::Reason,
    task::{Outcome, TaskSpec},
    time::UnixMicros,
};
use tokio_util::sync::CancellationToken;

use super::{
    Spool,
    conclude::{Asked, Verdict, conclude},
    inline_sink::InlineSink,
    sealer::Sealer,
    thread_sink::ThreadSink,
};
use crate::{
    connections::Connections,
    executor::{Context, Executor, Failure, Settled, Sink},
};

/// Runs an attempt to its end, sealing its output where it is produced: for processes that hold many attempts.
///
/// The last chunk holds the End event and has its `outcome` set. The envelope's signature is the caller's business.
///
/// # Cancel
/// When `cancel` fires, or the spec's timeout has passed, the executor is told to end; this returns when it has.
pub async fn drive(
    envelope: pb::TaskEnvelope,
    executors: &[Box<dyn Executor>],
    connections: Arc<Connections>,
    spool: Arc<dyn Spool>,
    cancel: CancellationToken,
) -> Outcome {
    let mut job = Job::new(&envelope, connections, spool, cancel);
    let sink = Arc::new(InlineSink::new(
        Sealer::new(job.attempt, Arc::clone(&job.spool)),
        job.broken.clone(),
    ));
    let context = job.context(Arc::clone(&sink) as Arc<dyn Sink>);
    let verdict = {
        let mut work = pin!(job.run(envelope.spec, executors, &context));
        let mut sealing = pin!(sink.seal_when_due());
        tokio::select! {
            biased;
            verdict = &mut work => verdict,
            never = &mut sealing => match never {},
        }
    };
    sink.finish(verdict.clone()).unwrap_or_else(|| without_digests(verdict))
}

/// The same with a thread of its own for hashing and compressing: for a process that runs one attempt.
pub async fn drive_with_thread(
    envelope: pb::TaskEnvelope,
    executors: &[Box<dyn Executor>],
    connections: Arc<Connections>,
    spool: Arc<dyn Spool>,
    cancel: CancellationToken,
) -> Outcome {
    let mut job = Job::new(&envelope, connections, spool, cancel);
    let sink = match ThreadSink::start(Sealer::new(job.attempt, Arc::clone(&job.spool)), job.broken.clone()) {
        Ok(sink) => Arc::new(sink),
        Err(error) => {
            let failure = Failure::new(
                Reason::ExecutorFailed.code(),
                format!("no thread can be started: {error}"),
            );
            let sealer = Sealer::new(job.attempt, Arc::clone(&job.spool));
            return sealer.finish(Verdict::refused(failure));
        }
    };
    let context = job.context(Arc::clone(&sink) as Arc<dyn Sink>);
    let verdict = job.run(envelope.spec, executors, &context).await;
    sink.finish(verdict.clone())
        .await
        .unwrap_or_else(|| without_digests(verdict))
}

/// The sealer broke down: the chunks have no end, and the cloud will find that out by their numbers.
fn without_digests(verdict: Verdict) -> Outcome {
    let now = UnixMicros::now().0;
    Outcome {
        state: opslink::task::ExecutionState::Failed,
        exit_code: verdict.exit_code,
        signal: verdict.signal,
        reason: Reason::Internal.code().to_owned(),
        message: "the runner broke down while writing output".to_owned(),
        streams: Vec::new(),
        started_time_us: now,
        finished_time_us: now,
    }
}

struct Job {
    attempt: AttemptId,
    connections: Arc<Connections>,
    spool: Arc<dyn Spool>,
    cancel: CancellationToken,
    /// Fires when the spool refuses output for good.
    broken: CancellationToken,
    /// What the executor sees.
    end_work: CancellationToken,
}

impl Job {
    fn new(
        envelope: &pb::TaskEnvelope,
        connections: Arc<Connections>,
        spool: Arc<dyn Spool>,
        cancel: CancellationToken,
    ) -> Self {
        // An id that is none cannot come through the journal; the nil id keeps the road one.
        let attempt = envelope
            .attempt_id
            .parse()
            .unwrap_or_else(|_| AttemptId::from_uuid(uuid::Uuid::nil()));
        let (broken, end_work) = (CancellationToken::new(), CancellationToken::new());
        Self {
            attempt,
            connections,
            spool,
            cancel,
            broken,
            end_work,
        }
    }

    fn context(&self, sink: Arc<dyn Sink>) -> Context {
        let scratch = self
            .spool
            .scratch()
            .unwrap_or_else(|| std::env::temp_dir().join(format!("opslink-{}", self.attempt)));
        Context {
            sink,
            cancel: self.end_work.clone(),
            grace: std::time::Duration::ZERO,
            scratch,
            connections: Arc::clone(&self.connections),
            settled: Settled::default(),
        }
    }

    async fn run(&mut self, spec: Option<pb::TaskSpec>, executors: &[Box<dyn Executor>], context: &Context) -> Verdict {
        let (spec, executor) = match prepare(spec, executors) {
            Ok(prepared) => prepared,
            Err(failure) => return Verdict::refused(failure),
        };
        if self.cancel.is_cancelled() {
            return Verdict::canceled_before_start();
        }
        let context = Context {
            grace: spec.grace,
            ..context.clone()
        };
        let work = AssertUnwindSafe(executor.run(&spec.action, &context)).catch_unwind();
        let (result, asked) = self.watch(work, &spec, &context.settled).await;
        // What is queued now is little, and need not wait for an agent that may be gone.
        self.spool.lift_quota();
        // What is left in it is the executor's own and worth nothing now.
        std::fs::remove_dir_all(&context.scratch).ok();
        match result {
            Ok(result) => conclude(result, asked),
            Err(payload) => Verdict::panicked(&*payload),
        }
    }

    /// Waits for the work, and ends it when it has to end.
    async fn watch<T>(&self, work: impl Future<Output = T>, spec: &TaskSpec, settled: &Settled) -> (T, Asked) {
        let mut work = pin!(work);
        let asked = tokio::select! {
            biased;
            result = &mut work => return (result, Asked::Nothing),
            // An end of its own that comes first is the outcome, though its output may still be on its way: there is
            // little of it, and it need not wait for an agent that may be gone.
            () = settled.wait() => {
                self.spool.lift_quota();
                tokio::select! {
                    biased;
                    result = &mut work => return (result, Asked::Nothing),
                    _late = self.must_end(spec) => Asked::Nothing,
                }
            }
            asked = self.must_end(spec) => asked,
        };
        self.spool.lift_quota();
        self.end_work.cancel();
        (work.await, asked)
    }

    /// Waits for whatever ends the work from outside.
    async fn must_end(&self, spec: &TaskSpec) -> Asked {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Asked::Cancel,
            () = self.broken.cancelled() => Asked::SpoolBroken,
            () = tokio::time::sleep(spec.timeout) => Asked::Deadline(spec.timeout),
        }
    }
}

fn prepare(spec: Option<pb::TaskSpec>, executors: &[Box<dyn Executor>]) -> Result<(TaskSpec, &dyn Executor), Failure> {
    let spec = spec.ok_or_else(|| Failure::new(Reason::InvalidArgument.code(), "the task says nothing to do"))?;
    let spec = TaskSpec::try_from(spec).map_err(|error| Failure::new(error.code.code(), error.to_string()))?;
    let kind = spec.action.kind();
    let executor = executors
        .iter()
        .find(|executor| executor.kind() == kind)
        .ok_or_else(|| {
            Failure::new(
                Reason::ExecutorAbsent.code(),
                format!("this agent has no executor `{kind}`; a newer agent may have"),
            )
        })?;
    executor.validate(&spec.action)?;
    Ok((spec, executor.as_ref()))
}
