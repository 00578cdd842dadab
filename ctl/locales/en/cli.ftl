# What cloudctl says. Errors that the cloud may say too are in proto/locales/en/errors.ftl.

## Errors of this side: what, why, do this.

UNEXPECTED =
    .what = something unexpected happened: { $detail }
    .why = this is a fault of cloudctl or of its surroundings, not of your input
    .fix = run it again; if it stays, report it with the output of `cloudctl version`
NO_TERMINAL =
    .what = a question must be answered, and there is no terminal to ask on
    .why = stdin or stderr is not a terminal, or CI is set
    .fix = give { $flag }
STDIN_EMPTY =
    .what = { $flag } reads from stdin, and nothing came
    .why = the first line of stdin is empty
    .fix = pipe it in: printf '%s\n' "$SECRET" | cloudctl login … { $flag }
SERVER_URL_INVALID =
    .what = `{ $url }` is not the address of a cloud
    .why = it must be https://host or https://host:port, without a path
    .fix = write it like https://cloud.example.com:7443
PLAIN_HTTP_REFUSED =
    .what = `{ $url }` is plain http to another machine
    .why = passwords and tokens would cross the network readable
    .fix = use https://; plain http works on this machine's loopback only
NAME_NOT_RESOLVED =
    .what = the name { $host } cannot be resolved
    .why = { $detail }
    .fix = check the spelling, and DNS or /etc/hosts: getent hosts { $host }
TLS_FAILED =
    .what = no TLS with { $url }
    .why = { $detail }
    .fix = check that this is the cloud's TLS port and that the host name is one of its --name values; `cloudctl doctor` shows each step
CA_NOT_PINNED =
    .what = the CA of { $url } is not known on this machine
    .why = cloudctl trusts a cloud by the fingerprint of its CA, and none is stored for this address
    .fix = cloudctl login { $url }   (or give --ca-sha256 FINGERPRINT)
CA_NOT_TRUSTED =
    .what = not logged in to { $url }: its CA was not trusted
    .why = the answer was no
    .fix = compare the fingerprint with the one that the cloud printed at its start, then: cloudctl login { $url } --ca-sha256 { $fingerprint }
CA_FINGERPRINT_INVALID =
    .what = the fingerprint of the CA makes no sense
    .why = { $detail }
    .fix = copy the SHA-256 that `opslink-cloud serve` prints at its start
TOKEN_MALFORMED =
    .what = the token makes no sense
    .why = it holds characters that no token has
    .fix = copy it again: API tokens begin with olp_, sessions with ols_
TOKEN_FILE_UNREADABLE =
    .what = the token file { $path } cannot be read
    .why = { $detail }
    .fix = check the path given with --token-file
NO_CONFIG_FOLDER =
    .what = there is no folder for the configuration
    .why = none of CLOUDCTL_CONFIG, XDG_CONFIG_HOME and HOME is set
    .fix = export CLOUDCTL_CONFIG=/some/folder
CONFIG_FILE_INVALID =
    .what = { $path } cannot be understood
    .why = { $detail }
    .fix = mend it, or move it away and log in again
CONFIG_FILE_UNREADABLE =
    .what = { $path } cannot be read
    .why = { $detail }
    .fix = check its owner and mode, or set CLOUDCTL_CONFIG to another folder
CONFIG_FILE_NOT_WRITABLE =
    .what = { $path } cannot be written
    .why = { $detail }
    .fix = check the folder's owner and free space, or set CLOUDCTL_CONFIG to another folder
SCRIPT_IS_FOLDER =
    .what = { $name } is a folder
    .why = a file is needed; nothing was sent
    .fix = name one file inside it
SCRIPT_NOT_UTF8 =
    .what = { $name } is not UTF-8 text
    .why = line { $line } holds bytes that are no UTF-8; nothing was sent
    .fix = convert it first: iconv -f GBK -t UTF-8 { $name } > utf8.sql
SCRIPT_HAS_CRLF =
    .what = { $name } has Windows line ends (CR LF)
    .why = most interpreters stumble over them, first at the #! line; nothing was sent
    .fix = add --convert-crlf, or convert the file: sed -i 's/\r$//' { $name }
FOLDER_NOT_WRITABLE =
    .what = the folder { $path } cannot be made
    .why = { $detail }
    .fix = give another --output-dir
FORMAT_NOT_FOR_ROWS =
    .what = rows of SQL cannot be printed as yaml or name
    .why = they are streamed as they come
    .fix = use -o table, csv, tsv, json or jsonl
NOT_A_TARGET =
    .what = { $agent } is not a target of task { $task }
    .why = the task did not run there
    .fix = cloudctl task get { $task }
OUTPUT_NOT_WRITTEN =
    .what = the output cannot be written
    .why = { $detail }
    .fix = check free space and permissions of where stdout goes; the task itself goes on
OUTPUT_DAMAGED =
    .what = a piece of the output cannot be read
    .why = { $detail }
    .fix = try again; if it stays, the cloud's store or this version of cloudctl is at fault
OUTPUT_GAP =
    .what = a piece of the output did not arrive
    .why = the next piece does not follow the last one: { $detail }
    .fix = nothing: it is asked for again
CONNECTION_LOST =
    .what = the connection to the cloud broke
    .why = { $detail }
    .fix = check the network with `cloudctl doctor`; tasks go on without it
RPC_UNKNOWN =
    .what = this cloud does not know the call
    .why = { $detail }
    .fix = compare the versions: cloudctl version
NOT_ALLOWED =
    .what = you are not allowed to do this
    .why = { $detail }
    .fix = ask an administrator, or use another context: cloudctl context list
SERVER_SAID =
    .what = the cloud could not do it: { $detail }
    .why = it answered { $code } without a reason
    .fix = try again; the cloud's own log says more
API_METHOD_UNKNOWN =
    .what = there is no method `{ $method }`
    .why = it is not in the API that this cloudctl was built with
    .fix = did you mean { $near }? `cloudctl api list` shows all
API_METHOD_STREAMS_IN =
    .what = { $method } takes a stream of requests
    .why = such methods are for agents, not for one JSON object
    .fix = cloudctl api list -o wide
API_REQUEST_INVALID =
    .what = the JSON is no { $message }
    .why = { $detail }
    .fix = `cloudctl run … --print-request` shows a good one; fields are in lowerCamelCase
CLOCK_SKEW =
    .what = the clocks of this machine and of the cloud differ by { $skew }
    .why = at least one of them is wrong
    .fix = start time synchronisation (chrony, systemd-timesyncd) on both

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
agent-removed = { $agent } is removed.
join-token-hint = Paste this line on the new machine. It works once, for { $expires }.
token-hint = This is shown once. It works for { $expires }.
token-revoked = { $id } is revoked.

## Running

run-started = task { $id } · { $n } target(s) · Ctrl-C detaches
run-detach-hint = { $n } target(s). Watch: { $logs }
run-dry = { $n } target(s) would run this. Nothing was run.
run-interrupted-early = Interrupted before the cloud answered; the task may exist: cloudctl task list
run-detached = Detached; the task goes on. Come back: { $back } · Cancel: { $cancel }
run-reconnecting = connection lost ({ $detail }); reconnecting. The task goes on.
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
task-already-over = Task { $id } was over already.
task-retried = Task { $id } runs again on { $agents }.

## Doctor

doctor-pinned = the chain holds the pinned CA { $ca }
doctor-offered = the cloud offers CA { $ca }
doctor-cloud = OpsLink cloud { $version }
doctor-clock = { $skew } apart

word-warning = warning
