//! The same request in other clothes: a `cloudctl` line and a `grpcurl` line, made from the very message that 'Run' sends.

use opslink::pb::{self, SqlOnError, SqlTransaction, task_spec::Action};

use super::quote;

/// What the lines need to know beside the request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Origin of this cloud, `https://host:7443`.
    pub origin: String,
    /// File that the script came from, if it did; the line then names the file instead of carrying the text.
    pub file: Option<String>,
}

/// The `cloudctl` line of a task.
pub fn cloudctl(request: &pb::CreateTaskRequest, place: &Place) -> String {
    let Some(spec) = &request.spec else {
        return String::new();
    };
    let mut line = Line::default();
    let mut tail = Vec::new();
    let mut body: Option<&[u8]> = None;
    match &spec.action {
        Some(Action::Shell(shell)) => {
            line.words(["cloudctl", "run", "shell"]);
            if shell.script.is_empty() {
                tail.clone_from(&shell.argv);
            } else {
                body = Some(&shell.script);
                tail.clone_from(&shell.argv);
            }
            line.option("--interpreter", &shell.interpreter);
            let mut env: Vec<_> = shell.env.iter().collect();
            super::order::by(&mut env, |a, b| a.cmp(b));
            for (name, value) in env {
                line.words(["--env", &format!("{name}={value}")]);
            }
            line.option("--cwd", &shell.cwd);
            line.option("--user", &shell.run_as);
            if !shell.stdin.is_empty() {
                // Whoever runs the line has to bring it: without it the line would do something else.
                line.words(["--stdin", "FILE"]);
            }
        }
        Some(Action::Sql(sql)) => {
            line.words(["cloudctl", "run", "sql"]);
            body = Some(&sql.script);
            line.option("--conn", &sql.connection);
            if sql.transaction() == SqlTransaction::Single {
                line.words(["--tx", "single"]);
            }
            if sql.on_error() == SqlOnError::Continue {
                line.words(["--on-error", "continue"]);
            }
            line.number("--max-rows", sql.max_rows);
            line.seconds("--statement-timeout", sql.statement_timeout_secs);
            if sql.read_only {
                line.words(["--read-only"]);
            }
        }
        Some(Action::Fake(_)) | None => return String::new(),
    }
    let heredoc = match (&body, &place.file) {
        (Some(_), Some(file)) => {
            line.words(["--file", file]);
            None
        }
        (Some(text), None) => {
            line.words(["--file", "-"]);
            Some(String::from_utf8_lossy(text).into_owned())
        }
        (None, _) => None,
    };
    selector(&mut line, request.selector.as_ref());
    if let Some(rollout) = &request.rollout {
        line.number("--parallel", rollout.max_parallel.into());
        line.number("--max-fail", rollout.max_failures.into());
    }
    if let Some(queueing) = request.queueing.as_ref().filter(|queueing| queueing.enabled) {
        line.words(["--queue"]);
        line.seconds("--expires", queueing.ttl_secs);
    }
    line.seconds("--timeout", spec.timeout_secs);
    line.option("--reason", &request.reason);
    if !tail.is_empty() {
        line.words(["--"]);
        line.words(tail.iter().map(String::as_str));
    }
    match heredoc {
        Some(text) => line.with_heredoc(&text),
        None => line.0,
    }
}

/// The `grpcurl` line of a task.
pub fn grpcurl(request: &pb::CreateTaskRequest, place: &Place) -> String {
    let (plain, host) = match place.origin.split_once("://") {
        Some(("http", host)) => (true, host),
        Some((_, host)) => (false, host),
        None => (false, place.origin.as_str()),
    };
    let mut line = Line::default();
    line.words(["grpcurl"]);
    if plain {
        line.words(["-plaintext"]);
    } else {
        line.words(["-cacert", "ca.pem"]);
    }
    line.0.push_str(" -H \"authorization: Bearer $CLOUDCTL_TOKEN\"");
    line.words(["-d", "@", host, "opslink.v1.TaskService/CreateTask"]);
    // The request id is the caller's to choose, once per run.
    let request = pb::CreateTaskRequest {
        request_id: String::new(),
        ..request.clone()
    };
    let json = serde_json::to_string_pretty(&request).unwrap_or_default();
    line.with_heredoc(&json)
}

fn selector(line: &mut Line, selector: Option<&pb::Selector>) {
    let Some(selector) = selector else { return };
    for name in &selector.names {
        line.words(["--agent", name]);
    }
    line.option("--selector", &selector.expression);
    if selector.all {
        line.words(["--all"]);
    }
    for name in &selector.exclude {
        line.words(["--exclude", name]);
    }
}

/// A command line in the making.
#[derive(Default)]
struct Line(String);

impl Line {
    fn words<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        for word in words {
            if !self.0.is_empty() {
                self.0.push(' ');
            }
            self.0.push_str(&quote::word(word));
        }
    }

    fn option(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.words([name, value]);
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        if value > 0 {
            self.words([name, &value.to_string()]);
        }
    }

    fn seconds(&mut self, name: &str, value: u32) {
        if value > 0 {
            self.words([name, &format!("{value}s")]);
        }
    }

    /// Ends the line with the text as its standard input.
    fn with_heredoc(mut self, text: &str) -> String {
        let mut mark = "EOF".to_owned();
        while text.lines().any(|line| line == mark) {
            mark.push('_');
        }
        self.0.push_str(&format!(" <<'{mark}'\n{text}"));
        if !text.ends_with('\n') {
            self.0.push('\n');
        }
        self.0.push_str(&mark);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(argv: &[&str], script: &str) -> pb::CreateTaskRequest {
        let shell = pb::ShellSpec {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            script: script.to_owned().into(),
            ..Default::default()
        };
        pb::CreateTaskRequest {
            spec: Some(pb::TaskSpec {
                action: Some(Action::Shell(shell)),
                ..Default::default()
            }),
            selector: Some(pb::Selector {
                expression: "env=prod".into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn place() -> Place {
        Place {
            origin: "http://127.0.0.1:7480".into(),
            file: None,
        }
    }

    #[test]
    fn a_command_is_one_line() {
        assert_eq!(
            cloudctl(&shell(&["sh", "-c", "echo it's $HOME"], ""), &place()),
            r"cloudctl run shell --selector env=prod -- sh -c 'echo it'\''s $HOME'"
        );
    }

    #[test]
    fn a_script_travels_on_standard_input() {
        assert_eq!(
            cloudctl(&shell(&[], "echo 1\nEOF\n"), &place()),
            "cloudctl run shell --file - --selector env=prod <<'EOF_'\necho 1\nEOF\nEOF_"
        );
    }

    #[test]
    fn a_file_is_named() {
        let place = Place {
            file: Some("my script.sh".into()),
            ..place()
        };
        assert_eq!(
            cloudctl(&shell(&["a b"], "echo"), &place),
            "cloudctl run shell --file 'my script.sh' --selector env=prod -- 'a b'"
        );
    }

    #[test]
    fn every_option_of_sql_is_there() {
        let sql = pb::SqlSpec {
            script: "select 1".into(),
            connection: "main".into(),
            transaction: SqlTransaction::Single.into(),
            on_error: SqlOnError::Continue.into(),
            max_rows: 100,
            statement_timeout_secs: 30,
            read_only: true,
            script_name: String::new(),
        };
        let request = pb::CreateTaskRequest {
            spec: Some(pb::TaskSpec {
                action: Some(Action::Sql(sql)),
                timeout_secs: 60,
                grace_secs: 0,
            }),
            selector: Some(pb::Selector {
                all: true,
                exclude: vec!["db".into()],
                ..Default::default()
            }),
            rollout: Some(pb::Rollout {
                max_parallel: 2,
                max_failures: 1,
            }),
            queueing: Some(pb::Queueing {
                enabled: true,
                ttl_secs: 600,
            }),
            ..Default::default()
        };
        assert_eq!(
            cloudctl(&request, &place()),
            "cloudctl run sql --conn main --tx single --on-error continue --max-rows 100 --statement-timeout 30s --read-only \
             --file - --all --exclude db --parallel 2 --max-fail 1 --queue --expires 600s --timeout 60s \
             <<'EOF'\nselect 1\nEOF"
        );
    }

    #[test]
    fn grpcurl_carries_the_request_as_json() {
        let line = grpcurl(&shell(&["true"], ""), &place());
        assert!(
            line.starts_with("grpcurl -plaintext -H \"authorization: Bearer $CLOUDCTL_TOKEN\" -d @ 127.0.0.1:7480")
        );
        let json = line
            .split_once('\n')
            .and_then(|(_, body)| body.strip_suffix("\nEOF"))
            .unwrap();
        let back: pb::CreateTaskRequest = serde_json::from_str(json).unwrap();
        assert_eq!(back, shell(&["true"], ""));
    }
}
