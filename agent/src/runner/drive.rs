//! The core of the runner: one attempt, without disk, link or process of its own.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

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
    executor::{Context, Executor, Failure, Setting, Settled, Sink},
    policy::Permit,
};

/// How long after its grace an executor may take to come back; then the end is written without it.
pub(super) const HARD_END_AFTER: Duration = Duration::from_secs(5);

/// What is to be driven.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The task, as it came.
    pub envelope: pb::TaskEnvelope,
    /// What this machine's owner lets it use.
    pub permit: Permit,
}

impl From<pb::TaskEnvelope> for Attempt {
    fn from(envelope: pb::TaskEnvelope) -> Self {
        Self {
            envelope,
            permit: Permit::default(),
        }
    }
}

/// Runs an attempt to its end, sealing its output where it is produced: for processes that hold many attempts.
///
/// The last chunk holds the End event and has its `outcome` set. The envelope's signature is the caller's business.
///
/// # Cancel
/// When `cancel` fires, or the spec's timeout has passed, the executor is told to end; this returns when it has.
pub async fn drive(
    attempt: impl Into<Attempt>,
    executors: &[Box<dyn Executor>],
    connections: Arc<Connections>,
    spool: Arc<dyn Spool>,
    cancel: CancellationToken,
) -> Outcome {
    let attempt = attempt.into();
    let mut job = Job::new(&attempt, connections, spool, cancel);
    let sink = Arc::new(InlineSink::new(
        Sealer::new(job.attempt, Arc::clone(&job.spool)),
        job.broken.clone(),
    ));
    let context = job.context(Arc::clone(&sink) as Arc<dyn Sink>);
    let verdict = {
        let mut work = pin!(job.run(attempt.envelope.spec, executors, &context));
        let mut sealing = pin!(sink.seal_when_due());
        tokio::select! {
            biased;
            verdict = &mut work => verdict,
            never = &mut sealing => match never {},
        }
    };
    job.spool.work_is_over();
    sink.finish(verdict.clone()).unwrap_or_else(|| without_digests(verdict))
}

/// The same with a thread of its own for hashing and compressing: for a process that runs one attempt.
pub async fn drive_with_thread(
    attempt: impl Into<Attempt>,
    executors: &[Box<dyn Executor>],
    connections: Arc<Connections>,
    spool: Arc<dyn Spool>,
    cancel: CancellationToken,
) -> Outcome {
    let attempt = attempt.into();
    let mut job = Job::new(&attempt, connections, spool, cancel);
    let sealer = Sealer::new(job.attempt, Arc::clone(&job.spool));
    let sink = Arc::new(ThreadSink::new(sealer, job.broken.clone()));
    let context = job.context(Arc::clone(&sink) as Arc<dyn Sink>);
    let verdict = {
        let mut work = pin!(job.run(attempt.envelope.spec, executors, &context));
        let mut starting = pin!(sink.start_when_due());
        tokio::select! {
            biased;
            verdict = &mut work => verdict,
            never = &mut starting => match never {},
        }
    };
    job.spool.work_is_over();
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
        events: None,
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
    setting: Setting,
}

impl Job {
    fn new(
        Attempt { envelope, permit }: &Attempt,
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
            setting: Setting {
                task_id: envelope.task_id.clone(),
                attempt_id: envelope.attempt_id.clone(),
                program: permit.program.clone(),
                inherit: permit.inherit.clone(),
            },
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
            grace: Duration::ZERO,
            scratch,
            connections: Arc::clone(&self.connections),
            settled: Settled::default(),
            setting: self.setting.clone(),
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
            Some(Ok(result)) => conclude(result, asked),
            Some(Err(payload)) => Verdict::panicked(&*payload),
            None => Verdict::left(asked),
        }
    }

    /// Waits for the work, and ends it when it has to end. `None` when it does not: the runner has the last word.
    async fn watch<T>(&self, work: impl Future<Output = T>, spec: &TaskSpec, settled: &Settled) -> (Option<T>, Asked) {
        let mut work = pin!(work);
        let asked = tokio::select! {
            biased;
            result = &mut work => return (Some(result), Asked::Nothing),
            // An end of its own that comes first is the outcome, though its output may still be on its way: there is
            // little of it, and it need not wait for an agent that may be gone.
            () = settled.wait() => {
                self.spool.lift_quota();
                tokio::select! {
                    biased;
                    result = &mut work => return (Some(result), Asked::Nothing),
                    _late = self.must_end(spec) => Asked::Nothing,
                }
            }
            asked = self.must_end(spec) => asked,
        };
        self.spool.lift_quota();
        self.end_work.cancel();
        let ending = async {
            tokio::select! {
                biased;
                result = &mut work => Some(result),
                () = settled.wait() => None,
            }
        };
        let result = match tokio::time::timeout(spec.grace + HARD_END_AFTER, ending).await {
            Ok(Some(result)) => Some(result),
            // Nothing is at work any more, and its last output waits for the disk, for as long as that takes.
            Ok(None) => Some(work.await),
            Err(_) => None,
        };
        (result, asked)
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
