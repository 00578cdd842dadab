//! Works one link: moves frames between the stream, the courier and the launcher. Makes no decision of its own.

use std::{sync::Arc, time::Duration};

use opslink::{
    id::AttemptId,
    pb::{AttachRequest, Goodbye, Hello, attach_request, link_service_client::LinkServiceClient},
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
    crashpoint,
    launch::{Launcher, Phase, Refusal},
};

/// Frames between the courier and the wire. More would only delay control frames behind bulk.
const FRAMES_AHEAD: usize = 2;

/// Longest wait for the cloud to take a goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_millis(300);

/// How a link ended.
#[derive(Debug)]
pub enum LinkEnd {
    /// The cloud asked to come back after this time.
    Drained(Duration),
    /// The cloud said nothing for too long.
    Silent,
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
    epoch: Instant,
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
            epoch: Instant::now(),
        }
    }

    /// Which tasks are obeyed.
    pub fn admission_mut(&mut self) -> &mut Admission {
        &mut self.admission
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
        self.courier.connected(self.now(), hello, end_of);
        let end = self.attach(channel, sender, receiver, stop, on_up).await;
        self.courier.disconnected();
        end
    }

    async fn attach(
        &mut self,
        channel: Channel,
        sender: mpsc::Sender<AttachRequest>,
        receiver: mpsc::Receiver<AttachRequest>,
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
            Err(_) => return LinkEnd::Silent,
        };
        let end = tokio::select! {
            biased;
            end = self.exchange(&mut inbound, &sender, on_up) => end,
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
        on_up: impl FnOnce(),
    ) -> LinkEnd {
        let mut on_up = Some(on_up);
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
                () = sleep_until(deadline) => {
                    let now = self.now();
                    if self.courier.is_dead(now) {
                        return LinkEnd::Silent;
                    }
                }
            }
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
                let chunk = self.launcher.read(id, seq).unwrap_or_else(|error| {
                    tracing::warn!(attempt = %id, %error, "the journal cannot be read");
                    None
                });
                crashpoint!("after_chunk_read_before_send");
                self.courier.chunk(id, chunk)
            }
        }
    }

    fn obey(&mut self, commands: Vec<Command>) -> Option<LinkEnd> {
        commands.into_iter().find_map(|command| self.obey_one(command))
    }

    fn obey_one(&mut self, command: Command) -> Option<LinkEnd> {
        match command {
            Command::Admit(signed) => {
                let decision = self.admission.admit(signed, UnixMicros::now());
                if let Err(not_obeyed) = &decision {
                    let refusal = &not_obeyed.refusal;
                    tracing::warn!(attempt = ?not_obeyed.attempt, reason = refusal.reason, "a task was refused");
                }
                let more = self.courier.admitted(decision);
                self.obey(more)
            }
            Command::Start(order) => {
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
        self.epoch + self.courier.deadline(now).unwrap_or(now)
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}
