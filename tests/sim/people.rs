//! The people of a run: each does one thing, tries again until the cloud answers, as the command line does, or goes away
//! in the middle. When all trouble is over, they wait for every end and try every slot.

use std::{sync::Arc, time::Duration};

use opslink::{
    pb::{self, agent_service_client::AgentServiceClient, task_service_client::TaskServiceClient},
    task::ExecutionState,
    time::UnixMicros,
};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    api::{Api, Tried, reason_of},
    plan::{AGENTS, DOOMED, Deed, Errand, Fate, LOST_AFTER, RETURN_WITHIN},
    record::{Answer, Word},
    recorder::Run,
    script::probe,
    shared::Shared,
};

/// Longest wait for every end once all trouble is over: the longest pause between two dials, the time after which a
/// machine is given up, and some seconds.
const SETTLES_WITHIN: Duration = Duration::from_secs(60 + LOST_AFTER.as_secs() + RETURN_WITHIN.as_secs() + 35);
/// When what became of an execution whose row could not be read has come, once its work is over: some looks of the sweep,
/// and a dial.
const DAMAGED_RESTS_AFTER: Duration = Duration::from_secs(20);
/// Looks, half a second apart, until comparisons must be done: one that the store interrupted is begun again when its
/// lease of 60 s has ended.
const COMPARED_AFTER: u32 = 150;
/// Longest wait for the probes, which are begun when all links should be up.
const PROBES_WITHIN: Duration = Duration::from_secs(90);
/// Somebody who looks for a task that its creator has not told gives up after this: a minute, and the longest outage.
const SOUGHT_FOR: Duration = Duration::from_secs(140);

/// Does what the plan says, then waits for everything to come to rest.
pub(crate) async fn work(shared: Shared) -> turmoil::Result {
    while shared.ups.lock().unwrap().len() < AGENTS.len() {
        sleep(Duration::from_millis(10)).await;
    }
    let began = UnixMicros::now();
    *shared.work_began.lock().unwrap() = Some(began);
    shared.trace("the work begins");

    let mut errands = JoinSet::new();
    for (number, errand) in shared.plan.errands.clone().into_iter().enumerate() {
        let shared = shared.clone();
        errands.spawn_local(async move {
            sleep(errand.at.saturating_sub(UnixMicros::now().since(began))).await;
            run_errand(&shared, errand, number).await;
        });
    }
    while let Some(done) = errands.join_next().await {
        done.expect("nobody panics");
    }
    while !shared.is_over() {
        sleep(Duration::from_millis(50)).await;
    }
    let mut api = shared.api("client");
    if shared.plan.failover.is_some() {
        repeat_what_was_forgotten(&shared, &mut api).await;
    }
    settle(&shared, &mut api).await;
    if shared.plan.fate == Fate::Removed {
        shared.trace("the last agent is no more");
    }
    try_slots(&shared, &mut api).await;
    Ok(())
}

async fn run_errand(shared: &Shared, errand: Errand, number: usize) {
    let mut api = shared.api("client").in_turn(number + 1);
    let asked = UnixMicros::now();
    let id = match errand.deed {
        Deed::Create(_) | Deed::Remove => None,
        Deed::Cancel(job) | Deed::Retry(job) => match find(shared, &mut api, job).await {
            Some(id) => Some(id),
            // Its creation was refused, or its creator went away too early.
            None => return,
        },
    };
    let mut tries = 0;
    let word = loop {
        let vanishes = errand.vanishes.get(tries as usize).copied();
        tries += 1;
        match attempt(shared, &mut api, &errand.deed, id.as_deref(), vanishes).await {
            Tried::Answer(()) => break Word::Done,
            Tried::Refused(status) => {
                let reason = reason_of(&status);
                // Only a matter of time.
                if reason == "TASK_NOT_FINISHED" && !shared.is_over() {
                    sleep(Duration::from_millis(400)).await;
                    continue;
                }
                break Word::Refused(reason);
            }
            Tried::Again => {}
            Tried::Vanished => {
                shared.tally.count(if errand.hangs_up {
                    "person hung up"
                } else {
                    "person vanished"
                });
                if errand.hangs_up {
                    api.hang_up();
                }
                if errand.gives_up && tries as usize >= errand.vanishes.len() {
                    break Word::Nothing;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    };
    shared.trace(format_args!("{:?}: {word:?} after {tries} tries", errand.deed));
    shared.record.answered(Answer {
        deed: errand.deed,
        asked,
        told: UnixMicros::now(),
        tries,
        word,
    });
}

async fn attempt(
    shared: &Shared,
    api: &mut Api,
    deed: &Deed,
    id: Option<&str>,
    vanishes: Option<Duration>,
) -> Tried<()> {
    let id = id.unwrap_or_default().to_owned();
    match *deed {
        Deed::Create(job) => {
            let request = shared.plan.jobs[job].request();
            let tried = api
                .once(&request, vanishes, async |channel, request| {
                    TaskServiceClient::new(channel).create_task(request).await
                })
                .await;
            map(tried, |answer| {
                if job == 0 {
                    *shared.first_task.lock().unwrap() = answer.task.map(|task| task.id);
                }
            })
        }
        Deed::Cancel(_) => {
            let request = pb::CancelTaskRequest {
                id,
                ..Default::default()
            };
            let tried = api
                .once(&request, vanishes, async |channel, request| {
                    TaskServiceClient::new(channel).cancel_task(request).await
                })
                .await;
            map(tried, drop)
        }
        Deed::Retry(job) => {
            let request = pb::RetryTaskRequest {
                id,
                request_id: format!("00000000-0000-4000-a000-{job:012}"),
                ..Default::default()
            };
            let tried = api
                .once(&request, vanishes, async |channel, request| {
                    TaskServiceClient::new(channel).retry_task(request).await
                })
                .await;
            map(tried, drop)
        }
        Deed::Remove => {
            let request = pb::RemoveAgentRequest { agent: DOOMED.into() };
            let tried = api
                .once(&request, vanishes, async |channel, request| {
                    AgentServiceClient::new(channel).remove_agent(request).await
                })
                .await;
            map(tried, drop)
        }
    }
}

fn map<A, B>(tried: Tried<A>, map: impl FnOnce(A) -> B) -> Tried<B> {
    match tried {
        Tried::Answer(answer) => Tried::Answer(map(answer)),
        Tried::Refused(status) => Tried::Refused(status),
        Tried::Again => Tried::Again,
        Tried::Vanished => Tried::Vanished,
    }
}

/// Everything that there is, as anybody may list it.
async fn tasks(api: &mut Api) -> Vec<pb::Task> {
    let request = pb::ListTasksRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let listed = api
        .call(&request, async |channel, request| {
            TaskServiceClient::new(channel).list_tasks(request).await
        })
        .await;
    listed.expect("anybody may list").tasks
}

/// Looks for a task by the reason that it was given, as its creator may not have been told its id.
async fn find(shared: &Shared, api: &mut Api, job: usize) -> Option<String> {
    let began = UnixMicros::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let name = shared.plan.jobs[job].name();
        // Before the look: a creation that was answered by then is seen by it.
        let is_answered = !shared.record.answers(Deed::Create(job)).is_empty();
        if let Some(task) = tasks(api).await.into_iter().find(|task| task.reason == name) {
            return Some(task.id);
        }
        if is_answered || UnixMicros::now().since(began) > SOUGHT_FOR {
            return None;
        }
        sleep(pause).await;
        pause = (pause + pause / 4).min(Duration::from_millis(500));
    }
}

/// A database that went back in time may have forgotten cancels, and that an agent was removed: what waits for that one
/// would wait as long as it may be queued, for it was told to stay away.
async fn repeat_what_was_forgotten(shared: &Shared, api: &mut Api) {
    if shared.plan.fate == Fate::Removed {
        loop {
            match attempt(shared, api, &Deed::Remove, None, None).await {
                Tried::Answer(()) => break,
                Tried::Refused(status) => {
                    let reason = reason_of(&status);
                    assert_eq!(reason, "AGENT_NOT_FOUND", "the agent was not removed again");
                    break;
                }
                Tried::Again | Tried::Vanished => sleep(Duration::from_millis(50)).await,
            }
        }
    }
    for job in shared.plan.jobs.iter().filter(|job| job.is_endless()) {
        if let Some(id) = find(shared, api, job.number()).await {
            let deed = Deed::Cancel(job.number());
            let asked = attempt(shared, api, &deed, Some(&id), None).await;
            assert!(
                !matches!(asked, Tried::Refused(_)),
                "{}: a cancel was refused",
                job.name()
            );
        }
    }
}

async fn executions(api: &mut Api, task: &pb::Task) -> Vec<pb::Execution> {
    let request = pb::ListExecutionsRequest {
        task_id: task.id.clone(),
        ..Default::default()
    };
    let listed = api
        .call(&request, async |channel, request| {
            TaskServiceClient::new(channel).list_executions(request).await
        })
        .await;
    listed.expect("anybody may list").executions
}

/// Waits for every end and for every comparison of output.
async fn settle(shared: &Shared, api: &mut Api) {
    let began = UnixMicros::now();
    let mut waited_for_comparison = 0;
    loop {
        let (mut open, mut unverified) = (Vec::new(), 0);
        for task in tasks(api).await {
            for execution in executions(api, &task).await {
                if shared.is_damaged(&task.reason, &execution.agent_name) {
                    continue;
                }
                let state = ExecutionState::try_from(execution.state()).expect("a known state");
                if !state.is_terminal() {
                    open.push(format!(
                        "{} on {} is {}",
                        task.reason,
                        execution.agent_name,
                        state.word()
                    ));
                } else if execution.outcome.is_some_and(|outcome| !outcome.streams.is_empty())
                    && !execution.output_verified
                {
                    unverified += 1;
                }
            }
        }
        let waited = UnixMicros::now().since(began);
        if !damaged_rests(shared, waited) {
            open.push("what cannot be read may be at work".to_owned());
        }
        // What must be verified is the checker's business; here it is only given its time.
        if open.is_empty() && (unverified == 0 || waited_for_comparison == COMPARED_AFTER) {
            shared.trace("everything has ended");
            return;
        }
        if open.is_empty() {
            waited_for_comparison += 1;
        }
        assert!(
            waited < SETTLES_WITHIN,
            "after {waited:?} without trouble: {}",
            open.join("; ")
        );
        sleep(Duration::from_millis(500)).await;
    }
}

/// Says whether the execution whose row could not be read has no slot any more, whatever the store says of it.
fn damaged_rests(shared: &Shared, waited: Duration) -> bool {
    let Some((job, agent)) = shared.damaged() else {
        return true;
    };
    let is_at_work = |run: &Run| run.agent == agent && run.marker == job.marker && run.ended.is_none();
    waited >= DAMAGED_RESTS_AFTER && !shared.record.runs().values().flatten().any(is_at_work)
}

/// Takes every slot of every agent that is left, at the same time.
async fn try_slots(shared: &Shared, api: &mut Api) {
    let request = pb::ListAgentsRequest::default();
    let listed = api
        .call(&request, async |channel, request| {
            AgentServiceClient::new(channel).list_agents(request).await
        })
        .await;
    let mut agents: Vec<String> = listed
        .expect("anybody may list")
        .agents
        .into_iter()
        .map(|agent| agent.name)
        .collect();
    // One that was removed stays away also when the database has forgotten its removal: it was told to.
    if shared.plan.fate != Fate::Stays {
        agents.retain(|agent| agent != DOOMED);
    }
    assert!(agents.len() >= 2, "agents are gone: {agents:?}");
    let began = UnixMicros::now();
    let agents = Arc::new(agents);
    for number in 0..shared.plan.slots {
        let request = probe(number, agents.to_vec());
        let created = api
            .call(&request, async |channel, request| {
                TaskServiceClient::new(channel).create_task(request).await
            })
            .await;
        created.unwrap_or_else(|status| panic!("probe {number} was refused: {}", reason_of(&status)));
    }
    loop {
        let mut open = Vec::new();
        for task in tasks(api)
            .await
            .into_iter()
            .filter(|task| task.reason.starts_with("probe"))
        {
            for execution in executions(api, &task).await {
                if execution.state() != pb::ExecutionState::Succeeded {
                    let state = execution.state().as_str_name().to_owned();
                    open.push(format!("{} on {} is {state}", task.reason, execution.agent_name));
                }
            }
        }
        if open.is_empty() {
            shared.trace("every slot is free");
            return;
        }
        let waited = UnixMicros::now().since(began);
        assert!(waited < PROBES_WITHIN, "after {waited:?}: {}", open.join("; "));
        sleep(Duration::from_millis(500)).await;
    }
}
