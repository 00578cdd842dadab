//! Works one link: moves frames between the stream, the courier and the launcher. Makes no decision of its own.

use std::{sync::Arc, time::Duration};

use opslink::{
    id::AttemptId,
    pb::{AttachRequest, Facts, Goodbye, Hello, attach_request, link_service_client::LinkServiceClient},
    time::UnixMicros,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, transport::Channel};

use super::{Admission, Command, Courier, Output};
use crate::{
    clock::{Clock, Deadline},
    crashpoint,
    launch::{Launcher, Phase, Refusal},
    policy::Policy,
};

/// Frames between the courier and the wire. More would only delay control frames behind bulk.
const FRAMES_AHEAD: usize = 2;

/// How often the machine is looked at. A look reads five short files.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Longest wait for the cloud to take a goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_millis(300);

/// How a link ended.
#[derive(Debug)]
pub enum LinkEnd {
    /// The cloud asked to come back after this time.
    Drained(Duration),
    /// The cloud said nothing for this long, which is too long.
    Silent(Duration),
    /// The stream ended without a word.
    Closed,
    /// The call failed.
    Failed(tonic::Status),
    /// No protocol version in common; the cloud chose this one.
    Incompatible(u32),
    /// This agent was told to stop.
    Stopped,
}

/// The courier with everything that it moves frames between. Outlives links.
pub struct Reactor<L: ?Sized> {
    courier: Courier,
    admission: Admission,
    launcher: Arc<L>,
    /// Attempts that are being started; they go on while there is no link.
    starts: JoinSet<(AttemptId, Result<(), Refusal>)>,
    clock: Clock,
    /// Tells what the machine is now.
    look: Option<fn(&Policy) -> Facts>,
    /// Tells the policy when it has become another one.
    changed_policy: Option<Box<dyn FnMut() -> Option<Policy> + Send>>,
}

impl<L: Launcher + ?Sized> Reactor<L> {
    /// Makes one with what the launcher's journal holds.
    pub fn new(launcher: Arc<L>, admission: Admission) -> Self {
        let courier = Courier::new(&launcher.known());
        Self {
            courier,
            admission,
            launcher,
            starts: JoinSet::new(),
            clock: Clock::start(),
            look: None,
            changed_policy: None,
        }
    }

    /// Looks at the machine from time to time, and tells the cloud when it has changed.
    #[must_use]
    pub fn telling(mut self, look: fn(&Policy) -> Facts) -> Self {
        self.look = Some(look);
        self
    }

    /// Asks before each task, each look and each link whether the policy has become another one; it holds at once.
    #[must_use]
    pub fn following(mut self, changed_policy: impl FnMut() -> Option<Policy> + Send + 'static) -> Self {
        self.changed_policy = Some(Box::new(changed_policy));
        self
    }

    /// Which tasks are obeyed, by the policy of this moment.
    pub fn admission(&mut self) -> &Admission {
        if let Some(policy) = self.changed_policy.as_mut().and_then(|changed| changed()) {
            self.admission.set_policy(policy);
        }
        &self.admission
    }

    /// Works one link until it ends. `on_up` is called when the cloud has welcomed the agent.
    ///
    /// # Cancel
    /// Dropping the future closes the link; attempts go on.
    pub async fn hold(
        &mut self,
        channel: Channel,
        hello: Hello,
        stop: &CancellationToken,
        on_up: impl FnOnce(),
    ) -> LinkEnd {
        let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
        let ends = self.launcher.known();
        let end_of = |id| {
            ends.iter()
                .find(|known| known.id == id)
                .map_or(0, |known| known.next_seq)
        };
        let mut told = hello.facts.clone().unwrap_or_default();
        self.courier.connected(self.now(), hello, end_of);
        let end = self.attach(channel, (sender, receiver), &mut told, stop, on_up).await;
        self.courier.disconnected();
        end
    }

    async fn attach(
        &mut self,
        channel: Channel,
        (sender, receiver): (mpsc::Sender<AttachRequest>, mpsc::Receiver<AttachRequest>),
        told: &mut Facts,
        stop: &CancellationToken,
        on_up: impl FnOnce(),
    ) -> LinkEnd {
        // The cloud answers the call only after Hello: it must be on its way first.
        while let Some(Output::Frame(hello)) = self.courier.next_output() {
            if sender.send(hello).await.is_err() {
                return LinkEnd::Closed;
            }
        }
        let mut client = LinkServiceClient::new(channel);
        let attaching = client.attach(ReceiverStream::new(receiver));
        let deadline = self.deadline();
        let mut inbound = match tokio::time::timeout_at(deadline, attaching).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return LinkEnd::Failed(status),
            Err(_) => return LinkEnd::Silent(self.courier.dead_after(self.now()).unwrap_or_default()),
        };
        let end = tokio::select! {
            biased;
            end = self.exchange(&mut inbound, &sender, told, on_up) => end,
            () = stop.cancelled() => LinkEnd::Stopped,
        };
        if let LinkEnd::Stopped = end {
            let goodbye = Goodbye {
                reason: "the agent was told to stop".to_owned(),
            };
            let goodbye = AttachRequest {
                frame: Some(attach_request::Frame::Goodbye(goodbye)),
            };
            if sender.try_send(goodbye).is_ok() {
                drop(sender);
                // The cloud ends its half when it has read ours.
                let rest = async { while let Ok(Some(_)) = inbound.message().await {} };
                tokio::time::timeout(GOODBYE_WITHIN, rest).await.ok();
            }
        }
        end
    }

    async fn exchange(
        &mut self,
        inbound: &mut Streaming<opslink::pb::AttachResponse>,
        sender: &mpsc::Sender<AttachRequest>,
        told: &mut Facts,
        on_up: impl FnOnce(),
    ) -> LinkEnd {
        let mut on_up = Some(on_up);
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            let deadline = self.deadline();
            tokio::select! {
                // What comes in first: a cancel must not wait for output. The order is fixed for simulations.
                biased;
                frame = inbound.message() => match frame {
                    Ok(Some(frame)) => {
                        let commands = self.courier.frame(self.now(), frame);
                        if let Some(end) = self.obey(commands) {
                            return end;
                        }
                        if self.courier.is_up() && let Some(on_up) = on_up.take() {
                            on_up();
                        }
                    }
                    Ok(None) => return LinkEnd::Closed,
                    Err(status) => return LinkEnd::Failed(status),
                },
                Some(started) = self.starts.join_next() => {
                    // A start that panicked left its journal entry: the next start of the agent closes it.
                    if let Ok((id, result)) = started {
                        self.courier.started(id, result);
                    }
                }
                changed = self.launcher.changed() => self.note(changed),
                permit = sender.reserve(), if self.courier.has_output() => match permit {
                    Ok(permit) => if let Some(frame) = self.next_frame() {
                        permit.send(frame);
                    },
                    Err(_) => return LinkEnd::Closed,
                },
                () = sleep_until(look_at), if self.look.is_some() => {
                    look_at = Instant::now() + LOOK_EVERY;
                    self.tell_if_changed(told);
                }
                () = sleep_until(deadline) => {
                    let now = self.now();
                    if let Some(silence) = self.courier.dead_after(now) {
                        return LinkEnd::Silent(silence);
                    }
                }
            }
        }
    }

    fn tell_if_changed(&mut self, told: &mut Facts) {
        let Some(look) = self.look else { return };
        let facts = look(self.admission().policy());
        if facts != *told {
            told.clone_from(&facts);
            self.courier.facts(facts);
        }
    }

    /// Keeps the books while there is no link. Never returns.
    ///
    /// # Cancel
    /// Cancel safe.
    pub async fn idle(&mut self) -> std::convert::Infallible {
        loop {
            tokio::select! {
                biased;
                Some(Ok((id, result))) = self.starts.join_next() => self.courier.started(id, result),
                changed = self.launcher.changed() => self.note(changed),
            }
        }
    }

    fn note(&mut self, changed: Vec<(AttemptId, Phase)>) {
        for (id, phase) in changed {
            for command in self.courier.changed(id, phase) {
                // Nothing that a journal says ends a link.
                self.obey_one(command);
            }
        }
    }

    fn next_frame(&mut self) -> Option<AttachRequest> {
        match self.courier.next_output()? {
            Output::Frame(frame) => Some(frame),
            Output::Read(id, seq) => {
                let read = self.launcher.read(id, seq);
                crashpoint!("courier.chunk_read");
                match read {
                    Ok(chunk) => self.courier.chunk(id, chunk),
                    Err(error) => {
                        tracing::warn!(attempt = %id, %error, "the journal cannot be read; it is tried again");
                        self.courier.unreadable(self.now(), id);
                        None
                    }
                }
            }
        }
    }

    fn obey(&mut self, commands: Vec<Command>) -> Option<LinkEnd> {
        commands.into_iter().find_map(|command| self.obey_one(command))
    }

    fn obey_one(&mut self, command: Command) -> Option<LinkEnd> {
        match command {
            Command::Admit(signed, arrival) => {
                let decision = self.admission().admit(signed, UnixMicros::now());
                if let Err(not_obeyed) = &decision {
                    let refusal = &not_obeyed.refusal;
                    tracing::warn!(attempt = ?not_obeyed.attempt, reason = refusal.reason, "a task was refused");
                }
                let more = self.courier.admitted(self.now(), arrival, decision);
                self.obey(more)
            }
            Command::Start(mut order, start_by) => {
                order.start_by = Some(Deadline::new(self.clock, start_by));
                let launcher = Arc::clone(&self.launcher);
                // Runs to its end even when the link goes: its answer is then part of the next Hello.
                self.starts.spawn(async move {
                    let id = order.id;
                    (id, launcher.start(*order).await)
                });
                None
            }
            Command::Cancel(id) => {
                self.launcher.cancel(id);
                None
            }
            Command::Acknowledged(id, next_seq) => {
                self.launcher.acknowledged(id, next_seq);
                None
            }
            Command::Forget(id) => {
                self.launcher.forget(id);
                None
            }
            Command::Redial(after) => Some(LinkEnd::Drained(after)),
            Command::Incompatible(version) => Some(LinkEnd::Incompatible(version)),
        }
    }

    fn deadline(&mut self) -> Instant {
        let now = self.now();
        // Asked in each round, so that nobody waits for a rest that is over while others keep the link busy.
        self.courier.wake(now);
        self.clock.instant(self.courier.deadline(now).unwrap_or(now))
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }
}

#[cfg(test)]
#[path = "reactor_tests.rs"]
mod tests;
