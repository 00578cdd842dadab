# Sentences of the console. Every id is in both languages; `logic::catalogue` tests it.

## Frame
skip-to-content = Skip to content
nav = Main navigation
nav-run = Run
nav-admin = Administration
menu = Menu
home = Home
agents = Agents
tasks = Tasks
run-shell = Shell
run-sql = SQL
tokens = API tokens
audit = Audit
account = Account
account-sub = Your password. API tokens have their own page.
logout = Log out
language = Language
theme = Theme
theme-light = Light
theme-dark = Dark
theme-auto = As this computer
keyboard = Keyboard
crumbs = Where you are
key-filter = Filter this page
key-run = Run what is composed
key-follow = Follow output
key-wrap = Wrap long lines
key-times = Show times
key-next = Next hit
key-previous = Previous hit
key-end = Jump to the end
key-close = Close
key-help = This list

## Words
all = All
name = Name
role = Role
role-viewer = viewer
role-operator = operator
role-admin = admin
role-unspecified = –
status = Status
labels = Labels
actions = Actions
action = Action
who = Who
when = When
detail = Detail
resource = Resource
peer = From
created = Created
created-by = By
duration = Took
progress = Agents
last-seen = Last seen
last-used = Last used
expires = Expires
default = default
none = –
done = Done
edit = Edit
save = Save
saved = Saved
cancel = Cancel
close = Close
keep = Keep it
revoke = Revoke
copy = Copy
copied = Copied
copy-refused = The browser did not allow copying. Select the text and copy it by hand.
load-more = Load more
filter-clear = Clear the filter
now-online = now

## States
state-unknown = unknown
state-online = online
state-offline = offline
state-pending = pending
state-held = held
state-queued = queued
state-dispatched = starting
state-running = running
state-succeeded = succeeded
state-failed = failed
state-timed-out = timed out
state-canceled = canceled
state-refused = refused
state-expired = expired
state-lost = lost

## Time
ago-now = just now
ago-second = { $n } s ago
ago-minute = { $n } min ago
ago-hour = { $n } h ago
ago-day = { $n ->
    [one] yesterday
   *[other] { $n } days ago
}
days = { $n ->
    [one] 1 day
   *[other] { $n } days
}
sync-lost = Connection lost. Last synced at { $at } ({ $ago }); trying again.

## Errors
error-unreachable = No answer from the cloud.
error-unreachable-why = The network is down, or the cloud is restarting.
error-unreachable-fix = The console tries again by itself where it can; otherwise repeat what you did.
error-chunk = A part of the output could not be read.
error-chunk-fix = Download the raw output with cloudctl logs, and report this.

## Login
login = Log in
login-busy = Logging in …
login-heading = Log in
login-first = First time here?
login-first-how = The cloud printed the password of “admin” when it started first. It is also in the file initial-password in its data folder.
username = User name
password = Password
password-current = Current password
password-new = New password
password-again = New password, again
password-hint = At least 12 characters. A sentence is good.
password-short = The new password needs at least 12 characters.
password-differs = The two new passwords differ.
password-change = Change password
password-changed = Password changed. Your other sessions have ended.
password-forced = Choose a password
password-forced-why = The generated password was for the first login only.
session-expired = Your session has ended
session-expired-why = Log in again and go on where you were: nothing on this page is lost.

## Home
home-running = { $n ->
    [0] Running
   *[other] Running ({ $count })
}
home-running-none = Nothing is running.
home-recent = Recently finished
home-all-tasks = All tasks
home-all-agents = All agents
home-online-of = of { $total } online
home-more = and { $count } more
checklist = Three steps to the first output
step-login = Log in
step-login-why = You are here.
step-agent = Add an agent
step-agent-why = Paste one line on a machine; it dials out to this cloud.
step-agent-go = Add an agent
step-task = Run something
step-task-why = A command or SQL, with live output.
step-task-go = Run a command

## Agents
agents-filter = Filter by labels or name
agents-online-of = { $online } of { $total } online
agents-none = No agents yet. A machine joins with one pasted line.
agents-no-match = No agent matches.
agent-version = Version
add-agent = Add agent
add-agent-sub = One line, pasted on the new machine, makes it an agent.
agent-name = Name
agent-name-hint = Letters, digits, . _ -; empty takes the machine's host name.
agent-labels-hint = name=value, separated by commas. Selectors and access go by these.
agent-ttl = The line works for
agent-ttl-hint = It works once.
ttl-15m = 15 minutes
ttl-1h = 1 hour
ttl-1d = 1 day
ttl-7d = 7 days
agent-line = Join line
agent-line-make = Make the line
agent-line-how = Paste this on the new machine. It holds a secret and is shown only here.
agent-line-expires = Works once, until
agent-line-revoke = Make the line unusable
agent-line-revoked = The line is unusable now.
agent-waiting = Waiting for the agent …
agent-arrived = has joined.
agent-open = Open the agent
agent-another = Add another
agent-unknown = There is no such agent. It may have been removed.
agent-remove = Remove agent
agent-remove-why = Its certificate is revoked and its link closed within 5 seconds. Its tasks stay. To come back it has to join again.
agent-remove-type = Type { $name } to confirm
agent-removed = Agent removed
agent-tasks = Recent tasks
agent-tasks-none = Nothing was run here yet.
label-bad = “{ $part }” is not name=value.
facts = Facts
fact-host = Host name
fact-system = System
fact-kernel = Kernel
fact-cpus = CPUs
fact-memory = Memory
fact-capabilities = Can run
fact-enrolled = Joined
fact-id = Id
connections = Connections
connections-none = No connections.
connections-hint = Databases that this agent can reach. They are named in a file on the agent; their passwords never leave it.

## Tasks
task = Task
tasks-none = No tasks yet.
tasks-no-match = No task matches.
tasks-filter-agent = Only on agent (name or id)
run-first = Run your first command
score = Executions by state

## API tokens
tokens-sub = For cloudctl, pipelines and grpcurl.
tokens-none = No API tokens yet.
token-create = Create token
token-role-hint = What the token may do. Not more than you.
token-life = Works for
token-once = This secret is shown once. Keep it where secrets are kept.
token-secret = Token
token-use = Log cloudctl in with it:
token-kept = I have kept it
token-revoke = Revoke token
token-revoke-named = Revoke { $name }
token-revoke-sure = Whatever uses “{ $name }” is locked out at once.
token-was-revoked = Token revoked
token-valid = valid
token-revoked = revoked
token-expired = expired

## Audit
audit-sub = What was done by whom, newest first.
audit-filter = Filter what is loaded
audit-none = Nothing here.

## Not found
not-found = No such page
not-found-why = The address leads nowhere. The page may have moved.
