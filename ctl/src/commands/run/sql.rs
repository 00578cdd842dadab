//! `cloudctl run sql`: a file, a statement, or stdin.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use opslink::pb::{SqlOnError, SqlSpec, SqlTransaction, task_spec::Action};

use crate::{
    app::App,
    commands::{
        completion,
        run::{submit, targets::TargetArgs},
    },
    duration,
    exit::Exit,
    failure::Failure,
    input::{self, LineEnds, Purpose},
};

/// How statements are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transaction {
    /// All in one; the first error rolls back everything.
    Single,
    /// Each for itself.
    PerStatement,
}

/// What happens after a failed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    /// Nothing more is run.
    Stop,
    /// The next one is run; the task still fails.
    Continue,
}

/// Arguments of `run sql`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cloudctl run sql --file demo.sql --agent prod
  cloudctl run sql -a prod -e 'select count(*) from orders'
  cloudctl run sql -l env=prod --read-only -o csv -e 'select 1' > counts.csv
  cat fix.sql | cloudctl run sql -a prod --tx single -")]
pub(crate) struct SqlArgs {
    /// File with SQL; - is stdin
    #[arg(short, long, value_name = "FILE", help_heading = "What to run")]
    file: Option<PathBuf>,
    /// SQL on the command line
    #[arg(
        short,
        long,
        value_name = "SQL",
        conflicts_with = "file",
        help_heading = "What to run"
    )]
    execute: Option<String>,
    /// SQL, or a file with SQL; - is stdin
    #[arg(value_name = "SQL", conflicts_with_all = ["file", "execute"],
          required_unless_present_any = ["file", "execute"], help_heading = "What to run",
          add = ArgValueCompleter::new(completion::files))]
    what: Option<String>,
    /// Connection of the agent; else its default
    #[arg(long, value_name = "NAME", value_parser = input::not_blank, help_heading = "What to run",
          add = ArgValueCompleter::new(completion::connections))]
    conn: Option<String>,
    /// How statements are grouped into transactions [default: per-statement]
    #[arg(long, value_name = "MODE", help_heading = "What to run")]
    tx: Option<Transaction>,
    /// What happens after a failed statement [default: stop]
    #[arg(long, value_name = "ACTION", help_heading = "What to run")]
    on_error: Option<OnError>,
    /// Keep at most N rows of each result
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "What to run")]
    max_rows: Option<u64>,
    /// Let the database refuse every change
    #[arg(long, help_heading = "What to run")]
    read_only: bool,
    /// Longest time of one statement
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_secs, help_heading = "What to run")]
    statement_timeout: Option<u32>,
    #[command(flatten)]
    targets: TargetArgs,
}

/// Where the SQL comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    File(&'a Path),
    Text(&'a str),
    Stdin,
}

impl<'a> Source<'a> {
    fn of(args: &'a SqlArgs) -> Self {
        match (&args.file, &args.execute, args.what.as_deref()) {
            (Some(path), _, _) => Self::File(path),
            (None, Some(text), _) => Self::Text(text),
            (None, None, None | Some("-")) => Self::Stdin,
            (None, None, Some(what)) => Self::guess(what),
        }
    }

    /// A word that names a file, or looks like one, is a file: no statement does.
    fn guess(what: &'a str) -> Self {
        let path = Path::new(what);
        let looks_like_one = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("sql"))
            && !what.contains(char::is_whitespace);
        if looks_like_one || path.is_file() {
            Self::File(path)
        } else {
            Self::Text(what)
        }
    }
}

/// Runs `run sql`.
pub(super) async fn run(args: SqlArgs, app: &App) -> Result<Exit, Failure> {
    let spec = spec(&args)?;
    submit::submit(Action::Sql(spec), &args.targets, app).await
}

fn spec(args: &SqlArgs) -> Result<SqlSpec, Failure> {
    let (script, script_name) = match Source::of(args) {
        Source::File(path) => (
            input::read(path, Purpose::Sql, LineEnds::Refuse)?,
            input::display_name(path),
        ),
        Source::Text(text) => (
            input::check(text.to_owned().into_bytes(), "-e", Purpose::Sql, LineEnds::Refuse)?,
            String::new(),
        ),
        Source::Stdin => (
            input::read(Path::new("-"), Purpose::Sql, LineEnds::Refuse)?,
            "stdin".to_owned(),
        ),
    };
    let transaction = match args.tx {
        Some(Transaction::Single) => SqlTransaction::Single,
        Some(Transaction::PerStatement) | None => SqlTransaction::PerStatement,
    };
    let on_error = match args.on_error {
        Some(OnError::Continue) => SqlOnError::Continue,
        Some(OnError::Stop) | None => SqlOnError::Stop,
    };
    Ok(SqlSpec {
        script: script.into(),
        connection: args.conn.clone().unwrap_or_default(),
        transaction: transaction.into(),
        on_error: on_error.into(),
        max_rows: args.max_rows.unwrap_or_default(),
        statement_timeout_secs: args.statement_timeout.unwrap_or_default(),
        read_only: args.read_only,
        script_name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_from_a_statement() {
        let folder = tempfile::tempdir().expect("a folder");
        let existing = folder.path().join("two words");
        std::fs::write(&existing, "select 1").expect("a file");
        let existing = existing.to_str().expect("a name");
        assert_eq!(Source::guess("select 1"), Source::Text("select 1"));
        assert_eq!(
            Source::guess("select * from files.sql"),
            Source::Text("select * from files.sql")
        );
        assert_eq!(Source::guess("gone/demo.SQL"), Source::File(Path::new("gone/demo.SQL")));
        assert_eq!(Source::guess(existing), Source::File(Path::new(existing)));
    }
}
