//! The life of an agent that has joined: dial, hold the link, renew the certificate, redial.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opslink::{
    pb::{self, RenewCertificateRequest, link_service_client::LinkServiceClient},
    problem::Problem,
    reason::Reason,
    time::UnixMicros,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    connections_file::ConnectionsFile,
    dial::{self, Address, Connect},
    executor::{self, Health},
    facts,
    identity::{self, FreshKey, Identity},
    join::{dial_problem, status_problem},
    journal::boot_id,
    launch::Launcher,
    link::{Admission, LinkEnd, Reactor},
    pause::Pause,
    policy::Policy,
    policy_file::PolicyFile,
    recover, tls,
};

/// Wait when only an operator can help: by upgrading one of the two ends, or by letting the agent in again.
const REDIAL_SLOWLY: Duration = Duration::from_secs(300);

/// Longest sleep before looking at the wall clock again: a machine that was suspended must renew soon after.
const RENEWAL_CHECK_EVERY: Duration = Duration::from_secs(600);

/// Wait after a renewal that failed.
const RENEWAL_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Where an agent's rules and endpoints come from.
#[derive(Debug, Clone)]
pub enum Rules {
    /// From these files. The policy is read again for each task when it was changed, both for each link.
    Files {
        /// `policy.toml`.
        policy: PathBuf,
        /// `connections.toml`.
        connections: PathBuf,
    },
    /// Given by the program: for simulations.
    Fixed(Policy),
}

/// Everything that an agent is made of.
pub struct Agent<L: ?Sized> {
    /// Who it is.
    pub identity: Identity,
    /// Where renewed identities are written; nowhere in simulations.
    pub identity_path: Option<PathBuf>,
    /// What runs its attempts.
    pub launcher: Arc<L>,
    /// What it may do.
    pub rules: Rules,
    /// How it reaches the cloud.
    pub connect: Arc<dyn Connect>,
    /// Called each time the cloud has welcomed it.
    pub on_up: Box<dyn Fn() + Send + Sync>,
}

impl<L: Launcher + ?Sized> Agent<L> {
    /// Runs until `stop` fires or only an operator can help.
    ///
    /// # Errors
    /// What the operator has to know: the certificate is revoked, or a file cannot be used.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Problem> {
        let address = Address::parse(&self.identity.cloud_url).map_err(|error| config_invalid("cloud_url", &error))?;
        let mut reactor = self.reactor()?;
        let mut connections = self.connections()?;
        let identity = Mutex::new(self.identity.clone());
        let process_nonce = uuid::Uuid::new_v4().to_string();
        let mut pause = Pause::default();
        loop {
            let outcome = self
                .one_link(
                    &address,
                    &identity,
                    &mut reactor,
                    |policy| greeting(&process_nonce, policy, connections.as_mut()),
                    &mut pause,
                    &stop,
                )
                .await?;
            let outcome = match outcome {
                After::Expired => {
                    self.come_back(&address, &identity, &mut reactor, &mut pause, &stop)
                        .await?
                }
                other => other,
            };
            let wait = match outcome {
                After::Stop => return Ok(()),
                After::Redial | After::Expired => pause.next(None),
                // A fleet that is told the same time must not come back in the same moment.
                After::RedialIn(wait) => pause.next(Some(wait)),
                After::RedialSlowly => REDIAL_SLOWLY.mul_f64(0.5 + fastrand::f64()),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = sleep(wait) => {}
                never = reactor.idle() => match never {},
            }
        }
    }

    /// Dials and holds one link.
    async fn one_link(
        &self,
        address: &Address,
        identity: &Mutex<Identity>,
        reactor: &mut Reactor<L>,
        hello: impl FnOnce(&Policy) -> pb::Hello,
        pause: &mut Pause,
        stop: &CancellationToken,
    ) -> Result<After, Problem> {
        let tls = tls::mutual_tls(&lock(identity)).map_err(|error| config_invalid("identity", &error))?;
        let dialing = dial::dial(&*self.connect, address, tls);
        let channel = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(After::Stop),
            never = reactor.idle() => match never {},
            dialed = dialing => match dialed {
                Ok(channel) => channel,
                Err(error) if dial::is_revoked(&error) => return Err(Problem::new(Reason::CertificateRevoked)),
                Err(error) if dial::is_expired(&error) || self.is_over(identity) && error.is_of_tls() => {
                    return Ok(After::Expired);
                }
                Err(error) => {
                    pause.tell(&dial_problem(address, &error));
                    return Ok(After::Redial);
                }
            },
        };
        let hello = hello(reactor.admission().policy());
        let on_up = || {
            tracing::info!(cloud = %address.url(), "link is up");
            pause.reset();
            (self.on_up)();
        };
        let end = tokio::select! {
            biased;
            end = reactor.hold(channel.clone(), hello, stop, on_up) => end,
            never = self.keep_renewed(channel, identity) => match never {},
        };
        if let LinkEnd::Failed(status) = &end
            && (dial::is_expired(status) || self.is_over(identity))
        {
            return Ok(After::Expired);
        }
        self.after(address, end, pause)
    }

    /// Asks for the next certificate after the end of the last one.
    async fn come_back(
        &self,
        address: &Address,
        identity: &Mutex<Identity>,
        reactor: &mut Reactor<L>,
        pause: &mut Pause,
        stop: &CancellationToken,
    ) -> Result<After, Problem> {
        let expired = lock(identity).clone();
        if pause.is_silent() {
            tracing::warn!("the certificate has expired; proving the key to the cloud to get the next one");
        }
        let asking = recover::renew_expired(&self.connect, address, &expired);
        let asked = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(After::Stop),
            never = reactor.idle() => match never {},
            asked = asking => asked,
        };
        let adopted = asked.and_then(|next| {
            self.adopt(identity, next)
                .map_err(|error| config_invalid("identity", &error))
        });
        match adopted {
            Ok(()) => {
                tracing::info!("the certificate was renewed after its end");
                pause.reset();
                Ok(After::Redial)
            }
            Err(problem) if problem.reason == Reason::CertificateRevoked => Err(problem),
            Err(problem) => {
                pause.tell(&problem);
                Ok(if recover::is_final(problem.reason) {
                    After::RedialSlowly
                } else {
                    After::Redial
                })
            }
        }
    }

    /// Says whether the certificate has expired by this machine's clock. The cloud's alert says it better, and can be
    /// lost: a connection that is cut may take the alert with it.
    fn is_over(&self, identity: &Mutex<Identity>) -> bool {
        let validity = lock(identity).validity();
        validity.is_ok_and(|validity| validity.until < UnixMicros::now())
    }

    fn after(&self, address: &Address, end: LinkEnd, pause: &mut Pause) -> Result<After, Problem> {
        match end {
            LinkEnd::Stopped => Ok(After::Stop),
            LinkEnd::Drained(wait) => {
                tracing::info!(retry_after_ms = wait.as_millis(), "the cloud asked to come back later");
                Ok(After::RedialIn(wait))
            }
            LinkEnd::Silent(silence) => {
                pause.tell(&Problem::new(Reason::LinkDead).with("seconds", silence.as_secs()));
                Ok(After::Redial)
            }
            LinkEnd::Closed => {
                tracing::info!("the cloud closed the link");
                Ok(After::Redial)
            }
            LinkEnd::Incompatible(version) => {
                pause.tell(&Problem::new(Reason::VersionUnsupported).with("offered", version));
                Ok(After::RedialSlowly)
            }
            LinkEnd::Failed(status) => {
                if dial::is_revoked(&status) {
                    return Err(Problem::new(Reason::CertificateRevoked));
                }
                let problem = status_problem(address, &status);
                match problem.reason {
                    Reason::CertificateRevoked | Reason::AgentRemoved => Err(problem),
                    Reason::VersionUnsupported | Reason::AgentCloned => {
                        pause.tell(&problem);
                        Ok(After::RedialSlowly)
                    }
                    _ => {
                        pause.tell(&problem);
                        Ok(After::Redial)
                    }
                }
            }
        }
    }

    /// Without a policy nothing is allowed: the agent does not start then.
    fn reactor(&self) -> Result<Reactor<L>, Problem> {
        let reactor = |policy| {
            let admission = Admission::new(self.identity.agent_id, &self.identity.task_keys, policy);
            Reactor::new(Arc::clone(&self.launcher), admission)
        };
        match &self.rules {
            Rules::Fixed(policy) => Ok(reactor(policy.clone())),
            Rules::Files { policy: path, .. } => {
                let (mut file, policy) = PolicyFile::open(path).map_err(|error| {
                    let detail = dial::chain_text(&error);
                    Problem::new(Reason::PolicyInvalid)
                        .with("path", path.display())
                        .with("detail", detail)
                })?;
                Ok(reactor(policy).telling(look).following(move || file.changed_usable()))
            }
        }
    }

    /// A file that cannot be used keeps an agent from starting, and changes nothing for one that runs.
    fn connections(&self) -> Result<Option<ConnectionsFile>, Problem> {
        match &self.rules {
            Rules::Fixed(_) => Ok(None),
            Rules::Files { connections: path, .. } => ConnectionsFile::open(path).map(Some).map_err(|error| {
                let detail = dial::chain_text(&error);
                Problem::new(Reason::ConnectionsInvalid)
                    .with("path", path.display())
                    .with("detail", detail)
            }),
        }
    }

    /// Asks for the next certificate when it is time, for as long as the link lives.
    async fn keep_renewed(&self, channel: Channel, identity: &Mutex<Identity>) -> std::convert::Infallible {
        let jitter = fastrand::f64();
        loop {
            let wait = lock(identity).validity().map_or(RENEWAL_CHECK_EVERY, |validity| {
                validity.renew_after(UnixMicros::now(), jitter)
            });
            if wait > Duration::ZERO {
                sleep(wait.min(RENEWAL_CHECK_EVERY)).await;
                continue;
            }
            match self.renew(channel.clone(), identity).await {
                Ok(()) => {
                    tracing::info!("the certificate was renewed");
                    // By a clock that is far ahead, every certificate is due at once.
                    let shortest = shortest_pause(&lock(identity));
                    sleep(shortest).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificate could not be renewed");
                    sleep(RENEWAL_RETRY_AFTER.mul_f64(1.0 + fastrand::f64())).await;
                }
            }
        }
    }

    async fn renew(&self, channel: Channel, identity: &Mutex<Identity>) -> anyhow::Result<()> {
        let key = FreshKey::generate()?;
        let request = RenewCertificateRequest {
            csr_der: key.csr_der.clone().into(),
        };
        let answer = LinkServiceClient::new(channel)
            .renew_certificate(request)
            .await?
            .into_inner();
        let next = lock(identity).renewed(key, answer)?;
        self.adopt(identity, next)?;
        Ok(())
    }

    /// On disk first: the cloud may soon take nothing older than what it has seen in use.
    fn adopt(&self, identity: &Mutex<Identity>, next: Identity) -> Result<(), identity::Error> {
        if let Some(path) = &self.identity_path {
            next.save(path)?;
        }
        *lock(identity) = next;
        Ok(())
    }
}

/// The least time between two renewals.
fn shortest_pause(identity: &Identity) -> Duration {
    identity.validity().map_or(RENEWAL_RETRY_AFTER, |validity| {
        RENEWAL_RETRY_AFTER.min(validity.until.since(validity.from) / 10)
    })
}

/// What the agent says first on each link.
fn greeting(process_nonce: &str, policy: &Policy, connections: Option<&mut ConnectionsFile>) -> pb::Hello {
    pb::Hello {
        boot_id: boot_id(),
        process_nonce: process_nonce.to_owned(),
        facts: Some(look(policy)),
        connections: connections.map_or_else(Vec::new, |file| file.current().to_pb()),
        ..Default::default()
    }
}

/// What this machine is now. What the policy forbids is no capability: nobody should find that out by a refusal.
fn look(policy: &Policy) -> pb::Facts {
    let executors = executor::all();
    let healthy = executors
        .iter()
        .filter(|executor| policy.allows_kind(executor.kind()) && executor.health() == Health::Healthy);
    facts::collect(healthy.map(|executor| executor.kind().to_owned()).collect())
}

enum After {
    Stop,
    Redial,
    RedialIn(Duration),
    /// Only an operator can help.
    RedialSlowly,
    /// The certificate has expired.
    Expired,
}

fn lock(identity: &Mutex<Identity>) -> MutexGuard<'_, Identity> {
    identity.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config_invalid(setting: &str, error: &(dyn std::error::Error + 'static)) -> Problem {
    Problem::new(Reason::ConfigInvalid)
        .with("setting", setting)
        .with("detail", dial::chain_text(error))
}
