# What cloudctl says. Errors that the cloud may say too are in proto/locales/en/errors.ftl.

## Errors of this side: what, why, do this.

UNEXPECTED =
    .what = Something unexpected happened: { $detail }
    .why = This is a fault of cloudctl or of its surroundings, not of your input
    .fix = Run it again; if it stays, report it with the output of `cloudctl version`
NO_TERMINAL =
    .what = A question must be answered, and there is no terminal to ask on.
    .why = Stdin or stderr is not a terminal, or CI is set.
    .fix = Give { $flag }
STDIN_EMPTY =
    .what = { $flag } reads from stdin, and nothing came.
    .why = The first line of stdin is empty.
    .fix = Pipe it in: printf '%s\n' "$SECRET" | cloudctl … { $flag }
SERVER_URL_INVALID =
    .what = `{ $url }` is not the address of a cloud.
    .why = It must be https://host or https://host:port, without a path.
    .fix = Write it like https://cloud.example.com:7443.
PLAIN_HTTP_REFUSED =
    .what = `{ $url }` is plain http to another machine.
    .why = Passwords and tokens would cross the network readable.
    .fix = Use https://; plain http works on this machine's loopback only.
NAME_NOT_RESOLVED =
    .what = The name { $host } cannot be resolved.
    .why = { $detail }
    .fix = Check the spelling, and DNS or /etc/hosts: getent hosts { $host }
TLS_FAILED =
    .what = No TLS with { $url }
    .why = { $detail }
    .fix = Check that this is the cloud's TLS port and that the host name is one of its --name values; `cloudctl doctor` shows each step
CA_NOT_PINNED =
    .what = The CA of { $url } is not known on this machine.
    .why = cloudctl trusts a cloud by the fingerprint of its CA, and none is stored for this address
    .fix = cloudctl login https://{ $url }   (or give --ca-sha256 FINGERPRINT)
CA_NOT_TRUSTED =
    .what = Not logged in to { $url }: its CA was not trusted.
    .why = The answer was no.
    .fix = Compare the fingerprint with the one that the cloud printed at its start, then: cloudctl login { $url } --ca-sha256 { $fingerprint }
CA_FINGERPRINT_INVALID =
    .what = The fingerprint of the CA makes no sense.
    .why = { $detail }
    .fix = Copy the SHA-256 that `opslink-cloud serve` prints at its start.
TOKEN_MALFORMED =
    .what = The token makes no sense.
    .why = It holds characters that no token has.
    .fix = Copy it again: API tokens begin with olp_, sessions with ols_.
TOKEN_FILE_UNREADABLE =
    .what = The token file { $path } cannot be read.
    .why = { $detail }
    .fix = Check the path given with --token-file.
NO_CONFIG_FOLDER =
    .what = There is no folder for the configuration.
    .why = None of CLOUDCTL_CONFIG, XDG_CONFIG_HOME and HOME is set.
    .fix = export CLOUDCTL_CONFIG=/some/folder
CONTEXT_OF_ANOTHER_CLOUD =
    .what = Context “{ $name }” is that of { $server }
    .why = A login to { $url } under this name would put another cloud and its token in its place.
    .fix = Keep both with --name OTHER, or replace it with --name { $name }
TOKEN_AMBIGUOUS =
    .what = “{ $name }” does not say which token is meant.
    .why = These fit: { $fitting }. Nothing was revoked.
    .fix = Give the id in full.
CONFIG_FILE_INVALID =
    .what = { $path } cannot be understood.
    .why = { $detail }
    .fix = Mend it, or move it away and log in again.
CONFIG_FILE_UNREADABLE =
    .what = { $path } cannot be read.
    .why = { $detail }
    .fix = Check its owner and mode, or set CLOUDCTL_CONFIG to another folder.
CONFIG_FILE_NOT_WRITABLE =
    .what = { $path } cannot be written.
    .why = { $detail }
    .fix = Check the folder's owner and free space, or set CLOUDCTL_CONFIG to another folder.
SCRIPT_IS_FOLDER =
    .what = { $name } is a folder.
    .why = A file is needed; nothing was sent.
    .fix = Name one file inside it.
SCRIPT_NOT_UTF8 =
    .what = { $name } is not UTF-8 text.
    .why = Line { $line } holds bytes that are no UTF-8; nothing was sent.
    .fix = Convert it first: iconv -f GBK -t UTF-8 { $name } > utf8.sql.
SCRIPT_HAS_CRLF =
    .what = { $name } has Windows line ends (CR LF)
    .why = Most interpreters stumble over them, first at the #! line; nothing was sent.
    .fix = Add --convert-crlf, or convert the file: sed -i 's/\r$//' { $name }
STDIN_TWICE =
    .what = --file - and --stdin - both want our stdin.
    .why = It can be read once: the command would have got nothing.
    .fix = Put one of the two into a file.
FOLDER_NOT_WRITABLE =
    .what = The folder { $path } cannot be made.
    .why = { $detail }
    .fix = Give another --output-dir.
FORMAT_NOT_FOR_ROWS =
    .what = Rows of SQL cannot be printed as yaml or name.
    .why = They are streamed as they come.
    .fix = Use -o table, csv, tsv, json or jsonl.
FORMAT_NOT_FOR_LINES =
    .what = What commands and scripts print has no other format.
    .why = It is shown as it comes; only rows of SQL, lists and single objects have formats.
    .fix = Leave out -o; with --detach it is for the task, and `cloudctl task get TASK -o json` shows how the task ended.
NOT_A_TARGET =
    .what = { $agent } is not a target of task { $task }
    .why = The task did not run there.
    .fix = cloudctl task get { $task }
OUTPUT_NOT_WRITTEN =
    .what = The output cannot be written.
    .why = { $detail }
    .fix = Check free space and permissions of where stdout goes; the task itself goes on.
OUTPUT_DAMAGED =
    .what = A piece of the output cannot be read.
    .why = { $detail }
    .fix = Try again; if it stays, the cloud's store or this version of cloudctl is at fault
OUTPUT_GAP =
    .what = A piece of the output did not arrive.
    .why = The next piece does not follow the last one: { $detail }
    .fix = Nothing: it is asked for again.
CONNECTION_LOST =
    .what = The connection to the cloud broke.
    .why = { $detail }
    .fix = Check the network with `cloudctl doctor`; tasks go on without it
RPC_UNKNOWN =
    .what = This cloud does not know the call.
    .why = { $detail }
    .fix = Compare the versions: cloudctl version
NOT_ALLOWED =
    .what = You are not allowed to do this.
    .why = { $detail }
    .fix = Ask an administrator, or use another context: cloudctl context list
SERVER_SAID =
    .what = The cloud could not do it: { $detail }
    .why = It answered { $code } without a reason.
    .fix = Try again; the cloud's own log says more.
API_METHOD_UNKNOWN =
    .what = There is no method `{ $method }`.
    .why = It is not in the API that this cloudctl was built with
    .fix = Did you mean { $near }? `cloudctl api list` shows all
API_METHOD_STREAMS_IN =
    .what = { $method } takes a stream of requests.
    .why = Such methods are for agents, not for one JSON object.
    .fix = cloudctl api list -o wide
API_REQUEST_INVALID =
    .what = The JSON is no { $message }
    .why = { $detail }
    .fix = `cloudctl run … --print-request` shows a good one; fields are in lowerCamelCase
CLOCK_SKEW =
    .what = The clocks of this machine and of the cloud differ by { $skew }
    .why = At least one of them is wrong.
    .fix = Start time synchronisation (chrony, systemd-timesyncd) on both.

## Login

login-first-use = First contact with { $url }. Its CA certificate has this fingerprint:
login-trust = Is it the one that the cloud printed at its start?
login-username = User name:
login-password = Password:
login-must-change = The first password must be changed now.
login-new-password = New password (at least 12 characters):
login-again = Once more:
login-too-short = That has fewer than 12 characters.
login-differ = The two are not the same.
login-changed = Password changed.
login-done = Logged in to { $url } as { $user } ({ $role }). Context { $context } is in use.
logout-done = Logged out of { $url }.
context-used = Context { $name } is in use.
context-removed = Context { $name } and its token are gone.

## Agents and tokens

agent-remove-sure = Remove { $agents }? Their certificates are revoked and they must join again.
agent-kept = Nothing was removed.
agent-removed = { $agent } is removed.
join-token-hint = Paste this line on the new machine. It works once, for { $expires }.
token-hint = This is shown once. It works for { $expires }.
token-revoked = { $id } is revoked.

## Running

fold-same = (the same lines as the first group)
fold-too-large = (more than 1 MiB: shown whole instead of compared)
run-started = task { $id } · { $n ->
    [1] 1 target
   *[other] { $n } targets
    } · Ctrl-C detaches
run-detach-hint = { $n ->
    [1] 1 target
   *[other] { $n } targets
    }. Watch: { $logs }
run-dry = { $n ->
    [1] 1 target
   *[other] { $n } targets
    } would run this. Nothing was run.
run-confirm = Run on { $n ->
    [1] 1 agent
   *[other] { $n } agents
    }: { $agents }?
run-confirmed = Running on { $n ->
    [1] 1 agent
   *[other] { $n } agents
    }: { $agents }
run-declined = Nothing was run.
run-interrupted-early = Interrupted before the cloud answered; the task may exist: cloudctl task list
run-detached = Detached; the task goes on. Come back: { $back } · Cancel: { $cancel }
run-reconnecting = connection lost ({ $detail }); reconnecting. The task goes on.
run-waiting = { $what } Waiting for one of them to end; tasks go on meanwhile.
run-refused = { $what } Trying again; tasks go on meanwhile.
run-silent = nothing was heard for { $n } s
run-summary = { $n } targets: { $counts }
run-more =   … and { $n } more
run-hint-failed = → { $logs }   → { $retry }
exit-code = exit code { $code }
output-dropped = { $size } of { $stream } were dropped on the agent: its spool was full
sql-rows = { $n ->
    [1] 1 row
   *[other] { $n } rows
    }
sql-rows-affected = { $n ->
    [1] 1 row affected
   *[other] { $n } rows affected
    }
sql-rows-cut = (cut by --max-rows)
task-cancel-asked = Cancel of task { $id } was asked for. Watch: { $watch }
task-canceled = What waited of task { $id } is canceled, and nothing of it runs.
task-nothing-to-cancel = Nothing that was meant of task { $id } waits or runs.
task-already-over = Task { $id } was over already.
task-retried = Task { $id } runs again on { $agents }.

## Doctor

doctor-pinned = the chain holds the pinned CA { $ca }
doctor-offered = the cloud offers CA { $ca }
doctor-cloud = OpsLink cloud { $version }
doctor-clock = { $skew } apart

word-warning = warning
word-error = error
word-cause = cause
word-try = try
word-ref = ref

## Tables
column-about = ABOUT
column-action = ACTION
column-actor = ACTOR
column-age = AGE
column-agent = AGENT
column-attempt = ATTEMPT
column-by = BY
column-ca-sha256 = CA SHA256
column-capabilities = CAPABILITIES
column-check = CHECK
column-cloud = CLOUD
column-cloudctl = CLOUDCTL
column-command = COMMAND
column-connections = CONNECTIONS
column-created = CREATED
column-created-by = CREATED BY
column-current = CURRENT
column-detail = DETAIL
column-enrolled = ENROLLED
column-exit = EXIT
column-expires-in = EXPIRES IN
column-fix = FIX
column-full-id = FULL ID
column-host = HOST
column-id = ID
column-labels = LABELS
column-last-used = LAST USED
column-machine = MACHINE
column-message = MESSAGE
column-method = METHOD
column-name = NAME
column-note = NOTE
column-ok = OK
column-output = OUTPUT
column-peer = PEER
column-reason = REASON
column-request = REQUEST
column-resource = RESOURCE
column-response = RESPONSE
column-role = ROLE
column-secret = SECRET
column-server = SERVER
column-started = STARTED
column-state = STATE
column-status = STATUS
column-system = SYSTEM
column-targets = TARGETS
column-time = TIME
column-token = TOKEN
column-took = TOOK
column-url = URL
column-user = USER
column-version = VERSION
column-what = WHAT
column-would = WOULD
state-held = held
state-queued = queued
state-dispatched = dispatched
state-running = running
state-succeeded = succeeded
state-failed = failed
state-timed-out = timed_out
state-canceled = canceled
state-refused = refused
state-expired = expired
state-lost = lost
state-pending = pending
state-unknown = unknown
state-online = online
state-offline = offline
state-cancel-requested = { $state }, cancel requested
output-verified = verified
output-not-verified = not verified
dry-dispatched = start at once
dry-queued = wait in its queue
dry-held = wait for its turn
FOLD_NOT_FOR_JSON =
    .what = JSON output cannot be folded.
    .why = Each row of JSON names its agent, and what is folded belongs to several.
    .fix = Leave out --fold, or use -o table, csv or tsv.
