//! The closed catalogue of reasons: every error that people or programs may see has exactly one of these codes.
//!
//! Codes never change their meaning and are never reused. The sentences are in `proto/locales/*/errors.ftl`; a test
//! compares the two, and `docs/errors.md` is made from both.
//!
//! To add one: a line here, its three sentences in both languages, and `UPDATE_DOCS=1 cargo test -p opslink reason`.

use std::fmt;

#[cfg(feature = "locale")]
mod page;

#[cfg(feature = "locale")]
pub use page::markdown;

pub use tonic::Code;

/// Exit codes of `cloudctl` (design 04), by meaning.
pub mod exit {
    /// The server failed, or something unexpected happened.
    pub const SERVER: u8 = 1;
    /// The command line or the input makes no sense.
    pub const USAGE: u8 = 2;
    /// The work itself failed on at least one agent.
    pub const REMOTE: u8 = 3;
    /// Not logged in, or not allowed.
    pub const ACCESS: u8 = 4;
    /// No such thing.
    pub const NOT_FOUND: u8 = 5;
    /// Something must be true first, and is not.
    pub const PRECONDITION: u8 = 6;
    /// Server unreachable, TLS, proxy.
    pub const UNREACHABLE: u8 = 9;
    /// Ran into a deadline.
    pub const TIMEOUT: u8 = 124;
    /// Interrupted.
    pub const INTERRUPTED: u8 = 130;
}

/// Whether the same call may work later without anybody changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    Never,
    Later,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = ($code:literal, $grpc:ident, $exit:ident, $retry:ident, [$($arg:literal),*]),)+) => {
        /// Why something did not work: a stable code with everything that programs need to know about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the stable UPPER_SNAKE code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Returns the gRPC status code that carries it.
            pub const fn grpc(self) -> Code {
                match self { $(Self::$name => Code::$grpc,)+ }
            }

            /// Returns the exit code of `cloudctl`.
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$name => exit::$exit,)+ }
            }

            /// Says whether the same call may work later without anybody changing anything.
            pub const fn retryable(self) -> bool {
                matches!(match self { $(Self::$name => Retry::$retry,)+ }, Retry::Later)
            }

            /// Returns the names of the arguments that its sentences use.
            pub const fn args(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($arg),*],)+ }
            }

            /// Returns the one line that developers read.
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

reasons! {
    // Agents and selectors.
    /// No living agent has this id or name.
    AgentNotFound = ("AGENT_NOT_FOUND", NotFound, NOT_FOUND, Never, ["agent"]),
    /// A target is offline and queueing was not asked for.
    AgentOffline = ("AGENT_OFFLINE", FailedPrecondition, PRECONDITION, Later, ["agents"]),
    /// Another living agent has this name.
    AgentNameTaken = ("AGENT_NAME_TAKEN", AlreadyExists, PRECONDITION, Never, ["name"]),
    /// A name that no agent may have.
    AgentNameInvalid = ("AGENT_NAME_INVALID", InvalidArgument, USAGE, Never, ["name"]),
    /// The agent was removed while something waited for it or ran on it.
    AgentRemoved = ("AGENT_REMOVED", FailedPrecondition, REMOTE, Never, ["agent"]),
    /// The agent stayed away, and whether it ran what was handed to it is not known.
    AgentGone = ("AGENT_GONE", Unknown, REMOTE, Never, []),
    /// The agent runs as many attempts as it may.
    AgentBusy = ("AGENT_BUSY", ResourceExhausted, REMOTE, Later, ["agent"]),
    /// A label that cannot be kept or that no selector could name.
    LabelInvalid = ("LABEL_INVALID", InvalidArgument, USAGE, Never, ["detail"]),
    /// A selector without any part.
    SelectorEmpty = ("SELECTOR_EMPTY", InvalidArgument, USAGE, Never, []),
    /// A selector that cannot be read; `detail` draws the place.
    SelectorSyntax = ("SELECTOR_SYNTAX", InvalidArgument, USAGE, Never, ["detail", "drawing", "expected"]),
    /// A good selector that no agent matches.
    SelectorNoMatch = ("SELECTOR_NO_MATCH", NotFound, NOT_FOUND, Never, ["selector"]),
    /// A name to leave out that no living agent has; `similar` is the nearest name, or `none`.
    ExcludedAgentNotFound = ("EXCLUDED_AGENT_NOT_FOUND", NotFound, NOT_FOUND, Never, ["agent", "similar"]),
    /// A selector means other agents than the caller was shown.
    TargetsChanged = ("TARGETS_CHANGED", FailedPrecondition, PRECONDITION, Never, ["came", "gone"]),

    // Tasks.
    /// No task has this id.
    TaskNotFound = ("TASK_NOT_FOUND", NotFound, NOT_FOUND, Never, ["task"]),
    /// Several tasks begin with this id, or it is too short.
    TaskIdAmbiguous = ("TASK_ID_AMBIGUOUS", InvalidArgument, USAGE, Never, ["task"]),
    /// The task has not come to its end.
    TaskNotFinished = ("TASK_NOT_FINISHED", FailedPrecondition, PRECONDITION, Later, ["task"]),
    /// Every execution of the task that may be retried succeeded.
    NothingToRetry = ("NOTHING_TO_RETRY", FailedPrecondition, PRECONDITION, Never, ["task"]),
    /// An execution has had as many attempts as it may have.
    AttemptsExhausted = ("ATTEMPTS_EXHAUSTED", FailedPrecondition, PRECONDITION, Never, ["agents", "limit"]),
    /// No attempt has this id.
    AttemptNotFound = ("ATTEMPT_NOT_FOUND", NotFound, NOT_FOUND, Never, ["attempt"]),
    /// A request id that came before with another body.
    RequestIdReused = ("REQUEST_ID_REUSED", AlreadyExists, PRECONDITION, Never, ["request_id"]),
    /// A field that makes no sense.
    InvalidArgument = ("INVALID_ARGUMENT", InvalidArgument, USAGE, Never, ["field", "detail"]),
    /// A message above the limit.
    MessageTooLarge = ("MESSAGE_TOO_LARGE", ResourceExhausted, USAGE, Never, ["size", "limit"]),
    /// A script without content.
    ScriptEmpty = ("SCRIPT_EMPTY", InvalidArgument, USAGE, Never, ["name"]),
    /// A script above the limit.
    ScriptTooLarge = ("SCRIPT_TOO_LARGE", InvalidArgument, USAGE, Never, ["name", "size", "limit"]),
    /// The script's file cannot be read on the caller's machine.
    ScriptNotFound = ("SCRIPT_NOT_FOUND", NotFound, USAGE, Never, ["name", "detail"]),
    /// A script that is no text.
    ScriptBinary = ("SCRIPT_BINARY", InvalidArgument, USAGE, Never, ["name"]),

    // Access.
    /// No credentials, or unknown ones.
    Unauthenticated = ("UNAUTHENTICATED", Unauthenticated, ACCESS, Never, []),
    /// The session is over.
    SessionExpired = ("SESSION_EXPIRED", Unauthenticated, ACCESS, Never, []),
    /// The API token's time is over.
    TokenExpired = ("TOKEN_EXPIRED", Unauthenticated, ACCESS, Never, ["name"]),
    /// The API token was revoked.
    TokenRevoked = ("TOKEN_REVOKED", Unauthenticated, ACCESS, Never, ["name"]),
    /// No API token has this id or name.
    TokenNotFound = ("TOKEN_NOT_FOUND", NotFound, NOT_FOUND, Never, ["name"]),
    /// Another living API token has this name.
    TokenNameTaken = ("TOKEN_NAME_TAKEN", AlreadyExists, PRECONDITION, Never, ["name"]),
    /// The caller's role does not allow this.
    PermissionDenied = ("PERMISSION_DENIED", PermissionDenied, ACCESS, Never, ["role", "needed"]),
    /// The first password must be changed first.
    PasswordChangeRequired = ("PASSWORD_CHANGE_REQUIRED", PermissionDenied, ACCESS, Never, []),
    /// A new password that is too short or too well known.
    PasswordTooWeak = ("PASSWORD_TOO_WEAK", InvalidArgument, USAGE, Never, ["detail"]),
    /// User name and password do not fit.
    WrongCredentials = ("WRONG_CREDENTIALS", Unauthenticated, ACCESS, Never, []),
    /// Too many wrong passwords.
    TooManyAttempts = ("TOO_MANY_ATTEMPTS", ResourceExhausted, ACCESS, Later, ["seconds"]),
    /// A request whose body does not come.
    BodyTooSlow = ("BODY_TOO_SLOW", DeadlineExceeded, UNREACHABLE, Later, ["seconds"]),
    /// A browser call from another site.
    OriginRefused = ("ORIGIN_REFUSED", PermissionDenied, ACCESS, Never, ["origin"]),

    // Joining and identity.
    /// No join token has this id and secret.
    JoinTokenUnknown = ("JOIN_TOKEN_UNKNOWN", Unauthenticated, ACCESS, Never, []),
    /// The text is no join token.
    JoinTokenMalformed = ("JOIN_TOKEN_MALFORMED", InvalidArgument, USAGE, Never, []),
    /// The join token's time is over.
    JoinTokenExpired = ("JOIN_TOKEN_EXPIRED", Unauthenticated, ACCESS, Never, []),
    /// The join token was used before.
    JoinTokenUsed = ("JOIN_TOKEN_USED", Unauthenticated, ACCESS, Never, []),
    /// The join token was revoked.
    JoinTokenRevoked = ("JOIN_TOKEN_REVOKED", Unauthenticated, ACCESS, Never, []),
    /// The same request has made a join token before.
    JoinTokenMade = ("JOIN_TOKEN_MADE", AlreadyExists, PRECONDITION, Never, ["id"]),
    /// The server's certificate comes from another authority than the join token names.
    CaMismatch = ("CA_MISMATCH", FailedPrecondition, UNREACHABLE, Never, ["url", "expected", "found"]),
    /// The agent has an identity already.
    AlreadyJoined = ("ALREADY_JOINED", FailedPrecondition, PRECONDITION, Never, ["path", "name"]),
    /// The agent has no identity yet.
    NotJoined = ("NOT_JOINED", FailedPrecondition, PRECONDITION, Never, ["path"]),
    /// The call needs an agent's client certificate.
    CertificateRequired = ("CERTIFICATE_REQUIRED", Unauthenticated, ACCESS, Never, []),
    /// The client certificate is none of this cloud's agents.
    CertificateInvalid = ("CERTIFICATE_INVALID", Unauthenticated, ACCESS, Never, ["detail"]),
    /// The client certificate's agent was removed.
    CertificateRevoked = ("CERTIFICATE_REVOKED", Unauthenticated, ACCESS, Never, []),
    /// What was shown to have an expired certificate renewed does not prove that the caller holds its key.
    RenewalProofInvalid = ("RENEWAL_PROOF_INVALID", PermissionDenied, ACCESS, Never, ["detail"]),
    /// The certificate expired longer ago than this cloud renews expired ones.
    RenewalWindowPassed = ("RENEWAL_WINDOW_PASSED", FailedPrecondition, PRECONDITION, Never, ["expired", "window"]),
    /// The agent was connected with a newer certificate since this one expired.
    CertificateSuperseded = ("CERTIFICATE_SUPERSEDED", Unauthenticated, ACCESS, Never, ["expired", "seen"]),
    /// The clocks of agent and cloud are so far apart that a certificate is not valid yet, or not any more.
    ClockWrong = ("CLOCK_WRONG", FailedPrecondition, UNREACHABLE, Later, ["detail"]),
    /// A certificate request that cannot be read or whose signature is wrong.
    CsrInvalid = ("CSR_INVALID", InvalidArgument, USAGE, Never, ["detail"]),

    // What an agent says about an attempt.
    /// The agent's policy file does not allow this.
    PolicyDenied = ("POLICY_DENIED", PermissionDenied, REMOTE, Never, ["detail"]),
    /// The agent's policy file does not allow the fake executor.
    FakeDenied = ("FAKE_DENIED", PermissionDenied, REMOTE, Never, []),
    /// The agent cannot do this kind of task.
    ExecutorAbsent = ("EXECUTOR_ABSENT", FailedPrecondition, REMOTE, Never, ["kind", "detail"]),
    /// The executor itself failed.
    ExecutorFailed = ("EXECUTOR_FAILED", Internal, REMOTE, Never, ["detail"]),
    /// The signed envelope is not what this agent obeys.
    EnvelopeInvalid = ("ENVELOPE_INVALID", PermissionDenied, REMOTE, Never, ["detail"]),
    /// The signed envelope came too late.
    EnvelopeExpired = ("ENVELOPE_EXPIRED", FailedPrecondition, REMOTE, Never, []),
    /// The main process ended with another exit code than 0.
    ExitNonzero = ("EXIT_NONZERO", Unknown, REMOTE, Never, ["code"]),
    /// The main process was ended by a signal.
    KilledBySignal = ("KILLED_BY_SIGNAL", Unknown, REMOTE, Never, ["signal"]),
    /// The program or interpreter does not exist on the agent.
    ProgramNotFound = ("PROGRAM_NOT_FOUND", NotFound, REMOTE, Never, ["program"]),
    /// The program exists and may not be run.
    ProgramNotExecutable = ("PROGRAM_NOT_EXECUTABLE", PermissionDenied, REMOTE, Never, ["program"]),
    /// The working directory does not exist on the agent.
    CwdNotFound = ("CWD_NOT_FOUND", NotFound, REMOTE, Never, ["cwd"]),
    /// The agent cannot become this user.
    RunAsDenied = ("RUN_AS_DENIED", PermissionDenied, REMOTE, Never, ["user"]),
    /// Canceled, and some processes could not be ended.
    ProcessesLeft = ("PROCESSES_LEFT", PermissionDenied, REMOTE, Never, ["detail"]),
    /// Asked to end, the work did not, and was given up.
    WorkLeft = ("WORK_LEFT", DeadlineExceeded, REMOTE, Never, []),
    /// A note: the command ended and left processes running.
    ProcessesLeftRunning = ("PROCESSES_LEFT_RUNNING", Unknown, REMOTE, Never, []),
    /// A note: killed processes are still held by the kernel.
    ProcessesStuck = ("PROCESSES_STUCK", Unknown, REMOTE, Later, []),
    /// A note: a script's Windows line ends were converted.
    ScriptCrlfConverted = ("SCRIPT_CRLF_CONVERTED", Unknown, REMOTE, Never, []),
    /// A note: a script has mixed line ends and was left as it is.
    ScriptCrlfMixed = ("SCRIPT_CRLF_MIXED", Unknown, REMOTE, Never, []),
    /// A note: a script's byte order mark was removed.
    ScriptBomRemoved = ("SCRIPT_BOM_REMOVED", Unknown, REMOTE, Never, []),
    /// The attempt ran into its deadline.
    TimedOut = ("TIMED_OUT", DeadlineExceeded, TIMEOUT, Never, ["limit"]),
    /// Somebody asked for the end.
    Canceled = ("CANCELED", Cancelled, REMOTE, Never, []),
    /// The task waited too long for its agent.
    QueueExpired = ("QUEUE_EXPIRED", DeadlineExceeded, REMOTE, Never, ["agent", "ttl"]),
    /// The rollout stopped before this execution because too many failed.
    RolloutStopped = ("ROLLOUT_STOPPED", Aborted, REMOTE, Never, ["failures"]),
    /// The attempt ran on this agent before, and its record was handed over; it is never started again.
    AttemptReplayed = ("ATTEMPT_REPLAYED", AlreadyExists, REMOTE, Never, []),
    /// The agent stopped after it had taken the attempt and before it started it.
    NotStarted = ("NOT_STARTED", Aborted, REMOTE, Later, []),
    /// The agent could not start the process that does the work.
    RunnerUnstartable = ("RUNNER_UNSTARTABLE", Internal, REMOTE, Later, ["detail"]),
    /// The runner process ended without saying how the work ended.
    RunnerLost = ("RUNNER_LOST", Unknown, REMOTE, Never, []),
    /// The machine was restarted while the attempt ran.
    HostRebooted = ("HOST_REBOOTED", Unknown, REMOTE, Never, []),
    /// What the agent says about the end of an attempt contradicts itself.
    OutcomeContradictory = ("OUTCOME_CONTRADICTORY", Unknown, REMOTE, Never, []),
    /// The agent does not know an attempt that was handed to it.
    AttemptForgotten = ("ATTEMPT_FORGOTTEN", Unknown, REMOTE, Never, []),
    /// The spool quota is used up.
    SpoolFull = ("SPOOL_FULL", ResourceExhausted, REMOTE, Later, ["limit"]),
    /// Output is gone: the cloud had stored it, lost it, and the agent had given it up.
    OutputLost = ("OUTPUT_LOST", DataLoss, REMOTE, Never, []),
    /// The agent has no connection of this name.
    ConnectionUnknown = ("CONNECTION_UNKNOWN", NotFound, REMOTE, Never, ["connection", "known"]),
    /// The agent has no connection at all.
    ConnectionMissing = ("CONNECTION_MISSING", FailedPrecondition, REMOTE, Never, ["path"]),
    /// No connection was named and none is the default.
    ConnectionAmbiguous = ("CONNECTION_AMBIGUOUS", FailedPrecondition, REMOTE, Never, ["known"]),
    /// The agent's connections file cannot be read.
    ConnectionsInvalid = ("CONNECTIONS_INVALID", FailedPrecondition, REMOTE, Never, ["path", "detail"]),
    /// The agent's policy file cannot be read.
    PolicyInvalid = ("POLICY_INVALID", FailedPrecondition, REMOTE, Never, ["path", "detail"]),
    /// The task's database does not answer.
    DatabaseDown = ("DATABASE_DOWN", Unavailable, REMOTE, Later, ["connection", "detail"]),
    /// The task's database does not accept the connection's user or password.
    DatabaseAuth = ("DATABASE_AUTH", PermissionDenied, REMOTE, Never, ["connection", "detail"]),
    /// The task's database cannot be spoken to over TLS as the connection asks.
    DatabaseTls = ("DATABASE_TLS", FailedPrecondition, REMOTE, Never, ["connection", "detail"]),
    /// A statement failed.
    SqlFailed = ("SQL_FAILED", Unknown, REMOTE, Never, ["line", "detail"]),
    /// A script that cannot be split into statements.
    SqlSyntax = ("SQL_SYNTAX", InvalidArgument, REMOTE, Never, ["line", "detail"]),
    /// A read-only script holds a statement that could write.
    ReadOnlyRefused = ("READ_ONLY_REFUSED", PermissionDenied, REMOTE, Never, ["line", "detail"]),
    /// The connection was lost while the database was to make something durable.
    EffectUnknown = ("EFFECT_UNKNOWN", Unknown, REMOTE, Never, ["what", "detail"]),
    /// The database was asked to end a statement, and did not say that it did.
    StatementLeft = ("STATEMENT_LEFT", Unknown, REMOTE, Never, ["what", "detail"]),
    /// A statement ran into its own time limit.
    StatementTimeout = ("STATEMENT_TIMEOUT", DeadlineExceeded, REMOTE, Never, ["line", "limit"]),

    // Link.
    /// Cloud and agent have no protocol version in common.
    VersionUnsupported = ("VERSION_UNSUPPORTED", FailedPrecondition, UNREACHABLE, Never, ["offered", "supported"]),
    /// A frame that makes no sense where it came.
    FrameUnexpected = ("FRAME_UNEXPECTED", InvalidArgument, SERVER, Never, ["frame"]),
    /// Two processes use one agent's identity at the same time.
    AgentCloned = ("AGENT_CLONED", FailedPrecondition, PRECONDITION, Later, []),
    /// What an agent says about itself is more than the cloud keeps.
    AgentReportTooLarge = ("AGENT_REPORT_TOO_LARGE", InvalidArgument, SERVER, Never, ["detail"]),
    /// A newer link of the same agent took over.
    LinkSuperseded = ("LINK_SUPERSEDED", Aborted, SERVER, Later, []),
    /// The other end did not answer in time.
    LinkDead = ("LINK_DEAD", Unavailable, SERVER, Later, ["seconds"]),
    /// The cloud is about to end and asks to come back.
    Draining = ("DRAINING", Unavailable, SERVER, Later, []),
    /// A chunk that cannot be decoded or that does not follow its predecessor.
    ChunkInvalid = ("CHUNK_INVALID", DataLoss, SERVER, Never, ["attempt", "detail"]),

    // The cloud and its machine.
    /// The cloud's own database does not answer.
    DatabaseUnavailable = ("DATABASE_UNAVAILABLE", Unavailable, SERVER, Later, ["detail"]),
    /// The cloud's database URL makes no sense.
    DatabaseUrlInvalid = ("DATABASE_URL_INVALID", InvalidArgument, USAGE, Never, ["url", "detail"]),
    /// The cloud's data was written by a newer version.
    DataTooNew = ("DATA_TOO_NEW", FailedPrecondition, PRECONDITION, Never, ["path"]),
    /// No space left.
    DiskFull = ("DISK_FULL", ResourceExhausted, SERVER, Later, ["path"]),
    /// The cloud's database cannot be opened at its start.
    DatabaseNotOpened = ("DATABASE_NOT_OPENED", FailedPrecondition, PRECONDITION, Later, ["url", "detail"]),
    /// The cloud's database is damaged where the cloud cannot do without it.
    DatabaseCorrupt = ("DATABASE_CORRUPT", DataLoss, SERVER, Never, ["detail"]),
    /// Another cloud works on the database.
    DatabaseInUse = ("DATABASE_IN_USE", FailedPrecondition, PRECONDITION, Later, ["url"]),
    /// Another process uses the data folder.
    DataFolderLocked = ("DATA_FOLDER_LOCKED", FailedPrecondition, PRECONDITION, Never, ["path"]),
    /// The data folder cannot be written.
    DataFolderUnwritable = ("DATA_FOLDER_UNWRITABLE", FailedPrecondition, PRECONDITION, Never, ["path", "detail"]),
    /// Others on the machine may read the data folder, and this cannot be changed.
    DataFolderExposed = ("DATA_FOLDER_EXPOSED", FailedPrecondition, PRECONDITION, Never, ["path", "detail"]),
    /// Another agent uses the state folder.
    StateFolderLocked = ("STATE_FOLDER_LOCKED", FailedPrecondition, PRECONDITION, Never, ["path"]),
    /// The agent's state folder cannot be used.
    StateFolderUnusable = ("STATE_FOLDER_UNUSABLE", FailedPrecondition, PRECONDITION, Never, ["path", "detail"]),
    /// Another process listens on the address.
    PortInUse = ("PORT_IN_USE", FailedPrecondition, PRECONDITION, Never, ["address"]),
    /// A setting that makes no sense.
    ConfigInvalid = ("CONFIG_INVALID", InvalidArgument, USAGE, Never, ["setting", "detail"]),
    /// The cloud cannot take more right now.
    Overloaded = ("OVERLOADED", ResourceExhausted, SERVER, Later, []),
    /// The caller has as many watches and logs open as it may.
    TooManyStreams = ("TOO_MANY_STREAMS", ResourceExhausted, PRECONDITION, Later, ["actor", "streams"]),
    /// This cloud does not know the call.
    Unimplemented = ("UNIMPLEMENTED", Unimplemented, SERVER, Never, ["rpc"]),
    /// A fault of OpsLink itself.
    Internal = ("INTERNAL", Internal, SERVER, Never, ["detail"]),

    // The caller's side.
    /// No connection to the cloud.
    ServerUnreachable = ("SERVER_UNREACHABLE", Unavailable, UNREACHABLE, Later, ["url", "detail"]),
    /// The cloud's authority is not the one that was pinned.
    CaChanged = ("CA_CHANGED", FailedPrecondition, UNREACHABLE, Never, ["url", "expected", "found"]),
    /// No credentials for this server on this machine.
    NotLoggedIn = ("NOT_LOGGED_IN", Unauthenticated, ACCESS, Never, []),
    /// No context of this name in the configuration.
    ContextNotFound = ("CONTEXT_NOT_FOUND", NotFound, NOT_FOUND, Never, ["name", "known"]),
    /// The call took longer than the caller wanted to wait.
    WaitTimedOut = ("WAIT_TIMED_OUT", DeadlineExceeded, TIMEOUT, Later, ["limit"]),
    /// Interrupted by the caller.
    Interrupted = ("INTERRUPTED", Cancelled, INTERRUPTED, Never, []),
}

impl Reason {
    /// Reads a code made by [`Self::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
#[path = "reason_tests.rs"]
mod tests;
