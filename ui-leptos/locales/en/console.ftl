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
pages = Pages
palette = Go to, or do
palette-open = Search …
palette-hint = Type a page, an agent, a task or an action
palette-none = Nothing fits.
palette-count = { $n ->
    [one] 1 entry
   *[other] { $n } entries
}
palette-settings = Settings
palette-tasks = Recent tasks
palette-task = Open task { $id }
palette-shell = Run a shell command on { $name }
palette-sql = Run SQL on { $name }
palette-theme = Theme: { $name }
key-filter = Filter this page
key-run = Run what is composed
key-follow = Follow output
key-wrap = Wrap long lines
key-times = Show times
key-next = Next hit
key-previous = Previous hit
key-link = Copy a link to the line
key-extend = Mark more lines
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
agent-joined = has joined and does not run yet. Start it there:
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
tasks-failed = Failed tasks
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

## Composers
run-shell-heading = Run a command or script
run-sql-heading = Run SQL
what = What
command = Command
command-words = Passed to the program word by word; no shell is between.
command-through-shell = This line needs a shell: it runs as sh -c.
command-empty = Type a command.
command-quote = A quote is not closed.
script = Script
script-arguments = Arguments
script-empty = Type or open a script.
file-open = Open file
file-drop = or drop a file here
file-large = { $name } has { $size }; a script may have 512 KiB.
file-unreadable = { $name } could not be read.
file-empty = { $name } is empty.
file-binary = { $name } is not text in UTF-8.
lines = { $n ->
    [one] 1 line
   *[other] { $count } lines
}
options = Options
opt-timeout = Time limit
opt-timeout-hint = Of each execution: 90s, 5m, 2h. Empty is one hour.
opt-parallel = At the same time
opt-parallel-hint = Agents at work at once. Empty is all.
opt-max-failures = Stop after failures
opt-max-failures-hint = No more are started then. Empty is never.
opt-reason = Reason
opt-reason-hint = For the audit and whoever reads this later.
opt-queue = Wait for agents that are offline
opt-queue-ttl = Longest wait
opt-interpreter = Interpreter
opt-interpreter-hint = Empty takes the script's first line, or sh.
opt-cwd = Working folder
opt-run-as = Run as user
opt-run-as-hint = Empty is the agent's own user.
opt-env = Environment
opt-env-hint = NAME=value, one a line.
bad-time = { $field }: “{ $text }” is no length of time. Write 90s, 5m or 1h30m.
bad-number = { $field }: “{ $text }” is no whole number above 0.
bad-env = Environment: “{ $text }” is not NAME=value.
stdin-kept = The standard input of that task ({ $size }) goes along.
arguments-shell = No shell reads the arguments: put | & ; < > ( ) $ ` * ? [ ~ # into single quotes.
run = Run
run-on = { $n ->
    [one] Run on 1 agent
   *[other] Run on { $n } agents
}
run-busy = Starting …
run-not-allowed = Your role may not run tasks.
target = Agents
target-by = Choose by
target-labels = Labels
target-names = Names
target-all = All
target-all-why = Every agent that is there when the task is created.
target-expression = Label expression
target-offers = Labels in use
target-name-list = Names or patterns
target-exclude = Leave some out
target-exclude-list = Names or patterns to leave out
target-empty = Choose agents.
target-asking = Looking …
target-nobody = No agent is meant.
target-matched = { $n ->
    [one] 1 agent
   *[other] { $n } agents
}{ $offline ->
    [0] {""}
   *[other] , { $offline } offline
}
target-matched-list = Matching agents
target-offline-hint = Offline agents make the run fail unless “Wait for agents that are offline” is on.
twin = The same on the command line
twin-cloudctl = cloudctl line
twin-grpcurl = grpcurl line
twin-grpcurl-hint = Put an API token into CLOUDCTL_TOKEN.
danger-count = { $n ->
    [one] 1 line to look at twice
   *[other] { $count } lines to look at twice
}
danger-line = Line { $line }:
danger-rm = deletes folders and what is in them.
danger-format = overwrites a disk.
danger-power = turns the machine off.
danger-modes = changes owner or rights of everything.
danger-pipe = runs whatever that address returns.
danger-kill = can bring the machine down.
danger-drop = removes a table or more, for good.
danger-truncate = empties a table.
danger-no-where = touches every row: there is no WHERE.
sql-statements = Statements
sql-empty = Type or open a script.
sql-connection = Connection
sql-connection-default = Each agent's default
sql-connection-some = { $name } (on { $having } of { $total })
sql-connection-hint = Databases of the chosen agents.
sql-read-only = Read only
sql-read-only-hint = The database itself refuses changes.
sql-tx = Transaction
sql-tx-each = Each statement by itself
sql-tx-single = All in one: an error undoes everything
sql-error = After an error
sql-error-stop = Stop
sql-error-continue = Go on with the next statement
sql-max-rows = Rows kept of each result
sql-max-rows-hint = Empty keeps all.
sql-statement-timeout = Time limit of a statement

## Task page
executions = Executions
executions-all = { $n ->
    [one] The agent
   *[other] All { $count } agents
}
executions-choose = Choose an agent to see its output.
output = Output
results = Results
log = Log
attempt = attempt { $n }
exit-code = exit { $code }
signal = signal { $signal }
verified = { $size } verified
verified-why = The stored output has the length and hash that the agent reported.
copy-as = Copy as
copy-id = Copy id
copy-logs = Follow this task
run-again = Run again
retry = Retry
retry-failed = Retry { $count } failed
retry-here = Retry here
retry-sure = { $n ->
    [one] 1 execution that did not succeed gets a new attempt, with the same command.
   *[other] { $count } executions that did not succeed get a new attempt, with the same command.
}
retry-lost = { $n ->
    [one] Also the one whose outcome is unknown
   *[other] Also the { $count } whose outcome is unknown
}
retry-lost-why = They may have run: look first whether running twice does harm.
retry-sql = The whole script runs again: statements that took effect do so a second time.
retry-asked = New attempts are on their way.
cancel-task = Cancel task
cancel-here = Cancel here
cancel-not = Let it run
cancel-sure = { $n ->
    [one] 1 execution is not at its end.
   *[other] { $count } executions are not at their end.
}
cancel-how = What waits never starts. What runs is asked to end and is killed, with its children, if it does not.
cancel-asked = Asked to end.
cancel-underway = ending …
log-search = Search the loaded lines
log-hits = { $at } / { $total }
log-streams = Streams
log-follow = Follow
log-download = Download the raw output
log-to-end = To the end
log-new-lines = { $n ->
    [one] 1 new line
   *[other] { $count } new lines
}
log-earlier = { $n ->
    [one] 1 earlier line is not loaded.
   *[other] { $count } earlier lines are not loaded.
}
log-load-earlier = Load earlier
log-later = { $n ->
    [one] 1 later line is not loaded.
   *[other] { $count } later lines are not loaded.
}
log-load-later = Load later
log-marked = { $n ->
    [one] Line { $first }
   *[other] Lines { $first }–{ $last }
}
log-copy-link = Copy a link to these lines
log-copy-link-short = Copy link
log-link-copied = Link copied
log-unmark = Unmark
log-old-attempt = of attempt { $n }, which another one has replaced
log-no-line = The log has no line { $line }.
log-line = Line
log-more = + { $size }
log-none = No output.
log-none-stream = Nothing on this stream.
log-opening = Opening …
log-waiting = Waiting for output …
log-gap = { $size } of output was dropped here: the agent's spool was full.
log-end = { $state } after { $took }
log-statement = line { $line }: { $text }
log-statement-failed = { $text } (line { $line }, column { $column }) · { $took }
log-statement-affected = { $tag } { $count } rows · { $took }
log-statement-rows = { $tag } { $count } rows · { $took }
statements = Statements
statement-at = #{ $n }, line { $line }
rows = { $n ->
    [one] 1 row
   *[other] { $count } rows
}
rows-affected = { $count } affected
rows-window = The first { $shown } of { $total } rows; cloudctl gives all.
rows-cut = The result was cut at “Rows kept of each result”.
results-none = No statement ran.
result = Result
sql-error-at = Line { $line }, column { $column }
csv-copy = Copy as CSV
cell = Cell
