//! What callers ask, from the wire: defaults and limits of the requests are applied here, and what is wrong with a
//! request by itself is found here.

use std::collections::HashMap;

use opslink::{
    convert::InvalidMessage,
    id::AttemptId,
    kind, pb,
    pb::read_log_request::Start,
    problem::Problem,
    reason::Reason,
    selector::{NAMES_MAX, Selector},
    task::{TaskSpec, TaskState},
};
use prost::Message;
use ring::digest;

use crate::{
    service::page,
    store::record::ChunkStart,
    task::{
        QUEUE_TTL_DEFAULT_SECS,
        request::{
            CancelTask, CreateTask, ListChunks, ListExecutions, ListTasks, LogStart, NewTask, Output, ReadLog,
            RetryTask, WatchTask,
        },
    },
};

/// Longest wait in a queue, as in the .proto file.
const QUEUE_TTL_MAX_SECS: u32 = 604_800;
/// Longest reason of a caller, in bytes.
const REASON_MAX: usize = 1_000;
/// Sizes of pages, when none is asked for and at most, as in the .proto files.
const TASKS: (usize, usize) = (50, 1_000);
const EXECUTIONS: (usize, usize) = (1_000, 10_000);
const CHUNKS: (usize, usize) = (10_000, 10_000);

/// Reads a request to create a task.
pub(crate) fn create(request: pb::CreateTaskRequest) -> CreateTask {
    CreateTask {
        request_id: non_empty(&request.request_id),
        request_hash: body_hash(&request),
        task: new_task(request),
    }
}

fn new_task(request: pb::CreateTaskRequest) -> Result<NewTask, Problem> {
    let spec = request
        .spec
        .ok_or_else(|| InvalidMessage::new("spec", "must be given"))?;
    let spec = TaskSpec::try_from(spec)?;
    check_reason(&request.reason)?;
    if !request.request_id.is_empty() && uuid::Uuid::try_parse(&request.request_id).is_err() {
        return Err(InvalidMessage::new("request_id", "must be a UUID").into());
    }
    let queueing = request.queueing.unwrap_or_default();
    let queue_ttl_secs = match queueing.ttl_secs {
        0 => QUEUE_TTL_DEFAULT_SECS,
        secs if secs <= QUEUE_TTL_MAX_SECS => secs,
        _ => {
            let detail = format!("must be at most {QUEUE_TTL_MAX_SECS} (7 days)");
            return Err(InvalidMessage::new("queueing.ttl_secs", detail).into());
        }
    };
    let selector = request.selector.unwrap_or_default();
    let rollout = request.rollout.unwrap_or_default();
    Ok(NewTask {
        spec_bytes: pb::TaskSpec::from(spec.clone()).encode_to_vec().into(),
        spec,
        selector_bytes: selector.encode_to_vec().into(),
        selector_text: shown(&selector),
        selector: Selector::parse(selector)?,
        expected: request.expected_agents.map(|expected| expected.agents),
        max_parallel: rollout.max_parallel,
        max_failures: rollout.max_failures,
        queueing: queueing.enabled,
        queue_ttl_secs,
        reason: request.reason,
        dry_run: request.dry_run,
    })
}

/// Reads a request for new attempts.
///
/// # Errors
/// `INVALID_ARGUMENT` for too many agents.
pub(crate) fn retry(request: pb::RetryTaskRequest) -> Result<RetryTask, Problem> {
    check_agents(&request.agents)?;
    Ok(RetryTask {
        task: request.id,
        agents: request.agents,
        include_lost: request.include_lost,
        include_succeeded: request.include_succeeded,
        request_id: non_empty(&request.request_id),
    })
}

/// Reads a wish for the end of a task.
///
/// # Errors
/// `INVALID_ARGUMENT` for an endless reason, or too many agents.
pub(crate) fn cancel(request: pb::CancelTaskRequest) -> Result<CancelTask, Problem> {
    check_reason(&request.reason)?;
    check_agents(&request.agents)?;
    Ok(CancelTask {
        task: request.id,
        agents: request.agents,
        reason: request.reason,
    })
}

/// Reads which tasks to list.
///
/// # Errors
/// `INVALID_ARGUMENT` for a bad page or state.
pub(crate) fn list(request: &pb::ListTasksRequest) -> Result<ListTasks, Problem> {
    let page_size = page_size(request.page_size, TASKS)?;
    let states = request.states().map(TaskState::try_from);
    Ok(ListTasks {
        states: states.collect::<Result<_, _>>()?,
        agent: non_empty(&request.agent),
        before: key(&request.page_token)?,
        page_size,
    })
}

/// Reads which executions to list.
///
/// # Errors
/// `INVALID_ARGUMENT` for a bad page.
pub(crate) fn executions(request: pb::ListExecutionsRequest) -> Result<ListExecutions, Problem> {
    Ok(ListExecutions {
        page_size: page_size(request.page_size, EXECUTIONS)?,
        task: request.task_id,
        // Any text is a place in the order of names.
        after: non_empty(&request.page_token),
    })
}

/// Reads what to watch.
///
/// # Errors
/// `ATTEMPT_NOT_FOUND` for a position in what no attempt can be, `INVALID_ARGUMENT` for too many agents.
pub(crate) fn watch(request: pb::WatchTaskRequest) -> Result<WatchTask, Problem> {
    check_agents(&request.agents)?;
    let output = match request.output() {
        pb::OutputMode::Unspecified => Output::Nothing,
        pb::OutputMode::Chunks => Output::Chunks,
        pb::OutputMode::Events => Output::Events,
    };
    let mut positions = HashMap::new();
    for position in &request.positions {
        let bad = |_| Problem::new(Reason::AttemptNotFound).with("attempt", &position.attempt_id);
        let attempt: AttemptId = position.attempt_id.parse().map_err(bad)?;
        positions.insert(attempt, position.next_seq);
    }
    Ok(WatchTask {
        task: request.task_id,
        output,
        positions,
        agents: request.agents,
        follow: !request.no_follow,
        all_attempts: request.all_attempts,
    })
}

/// Reads which chunks to list.
///
/// # Errors
/// `INVALID_ARGUMENT` for a bad page.
pub(crate) fn chunks(request: pb::ListChunksRequest) -> Result<ListChunks, Problem> {
    Ok(ListChunks {
        page_size: page_size(request.page_size, CHUNKS)?,
        from: key(&request.page_token)?.unwrap_or(0),
        attempt: request.attempt_id,
    })
}

/// Reads which stored output is wanted.
pub(crate) fn read_log(request: pb::ReadLogRequest) -> ReadLog {
    ReadLog {
        attempt: request.attempt_id,
        start: match request.start {
            None => LogStart::At(ChunkStart::Seq(0)),
            Some(Start::FromSeq(seq)) => LogStart::At(ChunkStart::Seq(seq)),
            Some(Start::FromLine(line)) => LogStart::At(ChunkStart::Line(line)),
            Some(Start::TailLines(lines)) => LogStart::Tail(lines),
        },
        max_chunks: match request.max_chunks {
            0 => u64::MAX,
            most => most.into(),
        },
        decode: request.decode,
    }
}

fn check_reason(reason: &str) -> Result<(), Problem> {
    if reason.len() > REASON_MAX {
        return Err(InvalidMessage::new("reason", format!("must have at most {REASON_MAX} bytes")).into());
    }
    Ok(())
}

/// Each is looked up, or compared with what a task has.
fn check_agents(names: &[String]) -> Result<(), Problem> {
    if names.len() > NAMES_MAX {
        return Err(InvalidMessage::new("agents", format!("must have at most {NAMES_MAX} names")).into());
    }
    Ok(())
}

/// The size of a page, as the store counts.
fn page_size(wanted: i32, (default, most): (usize, usize)) -> Result<u32, Problem> {
    let size = page::size(wanted, default, most)?;
    Ok(u32::try_from(size).unwrap_or(u32::MAX))
}

/// Where a page begins. Tokens of these lists are the keys themselves.
fn key<K: std::str::FromStr>(token: &str) -> Result<Option<K>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    token.parse().map(Some).map_err(|_| page::unreadable())
}

/// Empty means absent in proto3.
fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A selector in few words, for people.
fn shown(selector: &pb::Selector) -> String {
    let mut parts = selector.names.clone();
    if !selector.expression.is_empty() {
        parts.push(selector.expression.clone());
    }
    if selector.all {
        parts.push("--all".to_owned());
    }
    parts.extend(selector.exclude.iter().map(|name| format!("--exclude {name}")));
    parts.join(" ")
}

/// SHA-256 of everything in the request but its id. Maps have no order on the wire, so they are hashed apart, sorted.
fn body_hash(request: &pb::CreateTaskRequest) -> Vec<u8> {
    let mut body = pb::CreateTaskRequest {
        request_id: String::new(),
        ..request.clone()
    };
    let mut context = digest::Context::new(&digest::SHA256);
    if let Some(spec) = &mut body.spec {
        context.update(&kind::take_maps(spec));
    }
    context.update(b"body");
    context.update(&body.encode_to_vec());
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests;
