# 控制台文案。两种语言的条目必须一致，由 `logic::catalogue` 检查。

## 框架
skip-to-content = 跳到正文
nav = 主导航
nav-run = 执行
nav-admin = 管理
menu = 菜单
home = 首页
agents = 代理
tasks = 任务
run-shell = Shell
run-sql = SQL
tokens = API 令牌
audit = 审计
account = 账户
account-sub = 修改密码。API 令牌在单独的页面管理。
logout = 退出
language = 语言
theme = 主题
theme-light = 浅色
theme-dark = 深色
theme-auto = 跟随系统
keyboard = 键盘快捷键
crumbs = 当前位置
pages = 页面
palette = 前往或执行
palette-open = 搜索 …
palette-hint = 输入页面、代理、任务或操作
palette-none = 没有匹配项。
palette-count = { $n } 项
palette-settings = 设置
palette-tasks = 最近任务
palette-task = 打开任务 { $id }
palette-shell = 在 { $name } 上执行 Shell 命令
palette-sql = 在 { $name } 上执行 SQL
palette-theme = 主题：{ $name }
key-filter = 筛选本页
key-run = 执行当前任务
key-follow = 跟随输出
key-wrap = 长行换行
key-times = 显示时间
key-next = 下一处
key-previous = 上一处
key-link = 复制行链接
key-extend = 扩大标记范围
key-end = 跳到末尾
key-close = 关闭
key-help = 本列表

## 词
all = 全部
name = 名称
role = 角色
role-viewer = 查看者
role-operator = 操作员
role-admin = 管理员
role-unspecified = –
status = 状态
labels = 标签
actions = 操作
action = 动作
who = 操作者
when = 时间
detail = 详情
resource = 对象
peer = 来源
created = 创建
created-by = 创建者
duration = 耗时
progress = 代理
last-seen = 最近在线
last-used = 最近使用
expires = 到期
default = 默认
none = –
done = 完成
edit = 编辑
save = 保存
saved = 已保存
cancel = 取消
close = 关闭
keep = 保留
revoke = 吊销
copy = 复制
copied = 已复制
copy-refused = 浏览器不允许复制，请选中文字手动复制。
load-more = 加载更多
filter-clear = 清除筛选
now-online = 现在

## 状态
state-unknown = 未知
state-online = 在线
state-offline = 离线
state-pending = 等待中
state-held = 未轮到
state-queued = 排队中
state-dispatched = 启动中
state-running = 运行中
state-succeeded = 成功
state-failed = 失败
state-timed-out = 超时
state-canceled = 已取消
state-refused = 被拒绝
state-expired = 已过期
state-lost = 结果未知

## 时间
ago-now = 刚刚
ago-second = { $n } 秒前
ago-minute = { $n } 分钟前
ago-hour = { $n } 小时前
ago-day = { $n } 天前
days = { $n } 天
sync-lost = 连接已断开。最后同步于 { $at }（{ $ago }），正在重试。

## 错误
error-unreachable = 云端没有应答。
error-unreachable-why = 网络不通，或者云端正在重启。
error-unreachable-fix = 控制台会尽量自动重试；否则请重复刚才的操作。
error-chunk = 有一段输出无法读取。
error-chunk-fix = 请用 cloudctl logs 下载原始输出，并报告此问题。

## 登录
login = 登录
login-busy = 正在登录 …
login-heading = 登录
login-first = 第一次使用？
login-first-how = 云端首次启动时打印了 “admin” 的密码，也保存在数据目录的 initial-password 文件中。
username = 用户名
password = 密码
password-current = 当前密码
password-new = 新密码
password-again = 再次输入新密码
password-hint = 至少 12 个字符，可以是一句话。
password-short = 新密码至少需要 12 个字符。
password-differs = 两次输入的新密码不一致。
password-change = 修改密码
password-changed = 密码已修改，其他会话已结束。
password-forced = 设置密码
password-forced-why = 自动生成的密码仅用于首次登录。
session-expired = 会话已结束
session-expired-why = 重新登录后可继续操作，本页内容不会丢失。

## 首页
home-running = { $n ->
    [0] 正在运行
   *[other] 正在运行（{ $count }）
}
home-running-none = 没有正在运行的任务。
home-recent = 最近完成
home-all-tasks = 全部任务
home-all-agents = 全部代理
home-online-of = / { $total } 在线
home-more = 还有 { $count } 个
checklist = 三步看到第一行输出
step-login = 登录
step-login-why = 已完成。
step-agent = 添加代理
step-agent-why = 在机器上粘贴一行命令，它会主动连到云端。
step-agent-go = 添加代理
step-task = 执行任务
step-task-why = 执行命令或 SQL，实时查看输出。
step-task-go = 执行命令

## 代理
agents-filter = 按标签或名称筛选
agents-online-of = { $total } 个中 { $online } 个在线
agents-none = 还没有代理。粘贴一行命令即可加入一台机器。
agents-no-match = 没有匹配的代理。
agent-version = 版本
add-agent = 添加代理
add-agent-sub = 在新机器上粘贴一行命令，它就成为代理。
agent-name = 名称
agent-name-hint = 小写字母、数字和 . _ -；留空则使用主机名。
agent-labels-hint = 名称=值，用逗号分隔。选择器和权限以此为准。
agent-ttl = 有效期
agent-ttl-hint = 只能使用一次。
ttl-15m = 15 分钟
ttl-1h = 1 小时
ttl-1d = 1 天
ttl-7d = 7 天
agent-line = 加入命令
agent-line-make = 生成命令
agent-line-how = 在新机器上粘贴执行。其中含有密钥，仅在此显示。
agent-line-expires = 仅可使用一次，有效期至
agent-line-revoke = 作废此命令
agent-line-revoked = 此命令已作废。
agent-waiting = 正在等待代理加入 …
agent-joined = 已加入，但尚未运行。请在该机器上启动：
agent-arrived = 已加入。
agent-open = 查看代理
agent-another = 再添加一个
agent-unknown = 没有这个代理，可能已被移除。
agent-remove = 移除代理
agent-remove-why = 证书将被吊销，连接在 5 秒内断开；任务记录保留。再次使用需要重新加入。
agent-remove-type = 输入 { $name } 以确认
agent-removed = 代理已移除
agent-tasks = 最近任务
agent-tasks-none = 这里还没有执行过任务。
label-bad = “{ $part }” 不是 名称=值 的形式。
facts = 信息
fact-host = 主机名
fact-system = 系统
fact-kernel = 内核
fact-cpus = CPU 数
fact-memory = 内存
fact-capabilities = 可执行
fact-enrolled = 加入时间
fact-id = ID
connections = 数据库连接
connections-none = 没有连接。
connections-hint = 此代理可以访问的数据库，由代理上的文件命名；密码不会离开代理。

## 任务
task = 任务
tasks-failed = 失败的任务
tasks-none = 还没有任务。
tasks-no-match = 没有匹配的任务。
tasks-filter-agent = 只看某个代理（名称或 ID）
run-first = 执行第一条命令
score = 各状态的执行数

## API 令牌
tokens-sub = 用于 cloudctl、流水线和 grpcurl。
tokens-none = 还没有 API 令牌。
token-create = 创建令牌
token-role-hint = 令牌的权限，不能超过你自己。
token-life = 有效期
token-once = 密钥只显示这一次，请妥善保存。
token-secret = 令牌
token-use = 用它登录 cloudctl：
token-kept = 已保存
token-revoke = 吊销令牌
token-revoke-named = 吊销 { $name }
token-revoke-sure = 使用 “{ $name }” 的程序会立即失去访问权限。
token-was-revoked = 令牌已吊销
token-valid = 有效
token-revoked = 已吊销
token-expired = 已过期

## 审计
audit-sub = 谁做了什么，最新的在前。
audit-filter = 筛选已加载的内容
audit-none = 没有记录。

## 找不到
not-found = 没有这个页面
not-found-why = 地址无效，页面可能已移动。

## 编排
run-shell-heading = 执行命令或脚本
run-sql-heading = 执行 SQL
what = 内容
command = 命令
command-words = 逐词传给程序，中间没有 shell。
command-through-shell = 此行需要 shell，将以 sh -c 执行。
command-empty = 请输入命令。
command-quote = 引号没有闭合。
script = 脚本
script-arguments = 参数
script-empty = 请输入或打开脚本。
file-open = 打开文件
file-drop = 或把文件拖到这里
file-large = { $name } 有 { $size }；脚本最大 512 KiB。
file-unreadable = 无法读取 { $name }。
file-empty = { $name } 是空文件。
file-binary = { $name } 不是 UTF-8 文本。
lines = { $count } 行
options = 选项
opt-timeout = 时间限制
opt-timeout-hint = 每个执行的上限：90s、5m、2h。留空为一小时。
opt-parallel = 同时执行
opt-parallel-hint = 同时工作的代理数，留空为全部。
opt-max-failures = 失败后停止
opt-max-failures-hint = 达到后不再启动新的，留空为从不。
opt-reason = 原因
opt-reason-hint = 供审计和以后查看。
opt-queue = 等待离线的代理
opt-queue-ttl = 最长等待
opt-interpreter = 解释器
opt-interpreter-hint = 留空则使用脚本首行，否则为 sh。
opt-cwd = 工作目录
opt-run-as = 运行用户
opt-run-as-hint = 留空为代理自己的用户。
opt-env = 环境变量
opt-env-hint = 每行一个 NAME=value。
bad-time = { $field }：“{ $text }”不是时长。请写 90s、5m 或 1h30m。
bad-number = { $field }：“{ $text }”不是大于 0 的整数。
bad-env = 环境变量：“{ $text }”不是 NAME=value。
stdin-kept = 该任务的标准输入（{ $size }）会一并发送。
arguments-shell = 参数不经过 shell：请把 | & ; < > ( ) $ ` * ? [ ~ # 放进单引号。
run = 执行
run-on = 在 { $n } 个代理上执行
run-busy = 正在启动 …
run-not-allowed = 你的角色不能执行任务。
target = 代理
target-by = 选择方式
target-labels = 标签
target-names = 名称
target-all = 全部
target-all-why = 任务创建时存在的所有代理。
target-expression = 标签表达式
target-offers = 在用的标签
target-name-list = 名称或通配
target-exclude = 排除一部分
target-exclude-list = 要排除的名称或通配
target-empty = 请选择代理。
target-asking = 正在匹配 …
target-nobody = 没有选中任何代理。
target-matched = { $n } 个代理{ $offline ->
    [0] {""}
   *[other] ，{ $offline } 个离线
}
target-matched-list = 匹配的代理
target-offline-hint = 有离线代理时执行会被拒绝，除非打开“等待离线的代理”。
twin = 对应的命令行
twin-cloudctl = cloudctl 命令
twin-grpcurl = grpcurl 命令
twin-grpcurl-hint = 请把 API 令牌放入 CLOUDCTL_TOKEN。
danger-count = 有 { $count } 行需要再次确认
danger-line = 第 { $line } 行：
danger-rm = 会删除目录及其内容。
danger-format = 会覆盖磁盘。
danger-power = 会关闭机器。
danger-modes = 会修改全部文件的属主或权限。
danger-pipe = 会执行该地址返回的任何内容。
danger-kill = 可能使机器瘫痪。
danger-drop = 会永久删除表等对象。
danger-truncate = 会清空表。
danger-no-where = 没有 WHERE，会影响所有行。
sql-statements = 语句
sql-empty = 请输入或打开脚本。
sql-connection = 连接
sql-connection-default = 各代理的默认连接
sql-connection-some = { $name }（{ $total } 个中 { $having } 个有）
sql-connection-hint = 所选代理的数据库。
sql-read-only = 只读
sql-read-only-hint = 由数据库拒绝修改。
sql-tx = 事务
sql-tx-each = 每条语句独立
sql-tx-single = 全部一个事务：出错则全部回滚
sql-error = 出错之后
sql-error-stop = 停止
sql-error-continue = 继续下一条语句
sql-max-rows = 每个结果保留行数
sql-max-rows-hint = 留空保留全部。
sql-statement-timeout = 单条语句时间限制

## 任务页
executions = 执行
executions-all = 全部 { $count } 个代理
executions-choose = 选择一个代理查看输出。
output = 输出
results = 结果
log = 日志
attempt = 第 { $n } 次尝试
exit-code = 退出码 { $code }
signal = 信号 { $signal }
verified = { $size } 已校验
verified-why = 存储的输出与代理报告的长度和哈希一致。
copy-as = 复制为
copy-id = 复制 ID
copy-logs = 跟随此任务
run-again = 再次执行
retry = 重试
retry-failed = 重试 { $count } 个失败
retry-here = 在此重试
retry-sure = { $count } 个未成功的执行将以相同命令重新尝试。
retry-lost = 也包括 { $count } 个结果未知的
retry-lost-why = 它们可能已经执行过：请先确认重复执行是否有害。
retry-sql = 整个脚本会重新运行：已生效的语句会再生效一次。
retry-asked = 新的尝试已开始。
cancel-task = 取消任务
cancel-here = 在此取消
cancel-not = 继续运行
cancel-sure = 还有 { $count } 个执行未结束。
cancel-how = 等待中的不再启动；运行中的会被要求结束，否则连同子进程一起终止。
cancel-asked = 已要求结束。
cancel-underway = 正在结束 …
log-search = 搜索已加载的行
log-hits = { $at } / { $total }
log-streams = 输出流
log-follow = 跟随
log-download = 下载原始输出
log-to-end = 到末尾
log-new-lines = { $count } 行新输出
log-earlier = 还有 { $count } 行更早的输出未加载。
log-load-earlier = 加载更早
log-later = 还有 { $count } 行更晚的输出未加载。
log-load-later = 加载更晚
log-marked = { $n ->
    [1] 第 { $first } 行
   *[other] 第 { $first }–{ $last } 行
}
log-copy-link = 复制指向这些行的链接
log-copy-link-short = 复制链接
log-link-copied = 已复制链接
log-unmark = 取消标记
log-old-attempt = 属于第 { $n } 次尝试，已被新的尝试取代
log-no-line = 日志中没有第 { $line } 行。
log-line = 行
log-more = + { $size }
log-none = 没有输出。
log-none-stream = 此输出流没有内容。
log-opening = 正在打开 …
log-waiting = 正在等待输出 …
log-gap = 此处丢弃了 { $size } 输出：代理的缓存已满。
log-end = { $state }，用时 { $took }
log-statement = 第 { $line } 行：{ $text }
log-statement-failed = { $text }（第 { $line } 行第 { $column } 列）· { $took }
log-statement-affected = { $tag } { $count } 行 · { $took }
log-statement-rows = { $tag } { $count } 行 · { $took }
statements = 语句
statement-at = #{ $n }，第 { $line } 行
rows = { $count } 行
rows-affected = 影响 { $count } 行
rows-window = 显示前 { $shown } 行，共 { $total } 行；cloudctl 可取全部。
rows-cut = 结果在“每个结果保留行数”处被截断。
results-none = 没有执行任何语句。
result = 结果
sql-error-at = 第 { $line } 行，第 { $column } 列
csv-copy = 复制为 CSV
cell = 单元格
