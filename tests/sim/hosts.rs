//! The programs of a run: a real cloud and real agents, on the hosts of the simulated network.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use opslink::{problem::Problem, reason::Reason};
use opslink_agent::{
    identity::Identity,
    join::{self, JoinOptions},
    policy::Policy,
    run::{Agent, Rules},
};
use opslink_cloud::{
    server::{Cloud, Settings},
    store::Store,
    task,
    tls::{self, Limits, Listener},
};
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    deaf,
    machine::Machine,
    net::{CLOUD, Dialer, Door, PORT},
    plan::{AGENTS, ANSWER_WITHIN, LOST_AFTER, RETURN_WITHIN},
    shared::Shared,
};

/// Between two starts of a program that could not start, as a supervisor waits.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// The cloud on a host of its own.
pub(crate) async fn cloud(store: Store, shared: Shared) -> turmoil::Result {
    let door = Door::open(shared.meter.clone()).await?;
    cloud_behind(door, store, shared).await
}

/// The cloud, started again until it starts.
pub(crate) async fn cloud_behind(door: impl Listener, store: Store, shared: Shared) -> turmoil::Result {
    let stop = CancellationToken::new();
    let cloud = loop {
        match Cloud::assemble(store.clone(), settings(&shared), stop.clone()).await {
            Ok(cloud) => break cloud,
            Err(problem) => shared.trace(format_args!("the cloud cannot start: {}", problem.reason.code())),
        }
        sleep(RESTART_AFTER).await;
    };
    shared.trace("the cloud is there");
    let was_dead = shared.lives.is_at_work(CLOUD, shared.now());
    if was_dead.is_some_and(|time| time > RETURN_WITHIN) {
        shared.tally.count("cloud was dead for long");
    }
    let cutter = {
        let (cloud, shared) = (cloud.clone(), shared.clone());
        async move {
            loop {
                if let Some(name) = shared.next_cut()
                    && let Some(view) = cloud.directory.find(name)
                    && cloud.engine.links().is_live(view.agent.id)
                {
                    let why = Problem::new(Reason::Overloaded);
                    cloud.engine.links().disconnect(view.agent.id, why);
                    shared.cut_is_done(name);
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
    };
    let serving = tls::serve(
        door,
        Some(cloud.tls()),
        cloud.router(),
        Limits::default(),
        stop,
        TaskTracker::new(),
    );
    tokio::select! {
        biased;
        () = serving => Ok(()),
        () = cutter => Ok(()),
    }
}

fn settings(shared: &Shared) -> Settings {
    let link = opslink_cloud::link::Config {
        heartbeat: Duration::from_secs(2),
        ..Default::default()
    };
    Settings {
        public_url: format!("https://{CLOUD}:{PORT}"),
        names: vec![CLOUD.into()],
        initial_password_file: None,
        tasks: task::Config {
            link,
            slots_per_agent: shared.plan.slots,
            answer_within: ANSWER_WITHIN,
            lost_after: LOST_AFTER,
            return_within: RETURN_WITHIN,
            reconcile_every: Duration::from_secs(4),
            signals: deaf::between(shared.clone()),
            ..Default::default()
        },
        agent_certificates: Default::default(),
    }
}

/// The process of an agent. One that the cloud has let go stays, and does nothing.
pub(crate) async fn agent(
    at: usize,
    machine: Arc<Machine>,
    identity: Arc<Mutex<Option<Identity>>>,
    join_token: String,
    shared: Shared,
) -> turmoil::Result {
    let name = AGENTS[at];
    shared.lives.is_at_work(name, shared.now());
    let dialer = Arc::new(Dialer {
        host: name.into(),
        meter: shared.meter.clone(),
    });
    let known = identity.lock().unwrap().clone();
    let known = match known {
        Some(known) => known,
        None => {
            let options = JoinOptions {
                url: format!("https://{CLOUD}:{PORT}"),
                token: join_token,
                name: None,
            };
            let joined = join::enroll(&options, &*dialer).await?;
            *identity.lock().unwrap() = Some(joined.clone());
            joined
        }
    };
    let agent = Agent {
        identity: known,
        identity_path: None,
        launcher: machine,
        rules: Rules::Fixed(Policy::permissive()),
        connect: dialer,
        on_up: {
            let shared = shared.clone();
            Box::new(move || {
                shared.trace(format_args!("{name} is up"));
                shared.ups.lock().unwrap().insert(name);
            })
        },
    };
    if let Err(problem) = agent.run(CancellationToken::new()).await {
        shared.trace(format_args!("{name} is let go: {}", problem.reason.code()));
    }
    std::future::pending().await
}
