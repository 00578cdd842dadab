//! What a script may not say when it must not write. The transaction around each statement is what forbids writing;
//! this refuses, before anything is sent, what could end that transaction or open a writable one. Fails closed: a
//! statement that is not understood is refused where the server's own guard has holes (MySQL). Pure.

use super::split::{Dialect, Error, Statement};

/// Words that begin a statement about transactions.
pub(super) fn is_transaction_control(tag: &str) -> bool {
    matches!(
        tag,
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE"
    )
}

/// First words that MySQL may run in a read-only transaction and that can neither end it nor write elsewhere. What is
/// not here (CALL, EXECUTE, DDL, LOCK TABLES …) commits by itself or hides what it does.
const MYSQL_READS: [&str; 19] = [
    "SELECT",
    "SHOW",
    "DESCRIBE",
    "DESC",
    "EXPLAIN",
    "WITH",
    "VALUES",
    "TABLE",
    "SET",
    "USE",
    "HELP",
    "DO",
    "CHECKSUM",
    "BEGIN",
    "START",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
];

/// Checks a whole script before anything of it is sent.
pub(super) fn check(dialect: Dialect, script: &str, statements: &[Statement]) -> Result<(), Error> {
    for statement in statements {
        let sql = script.get(statement.range.clone()).unwrap_or_default();
        let words = words(sql);
        let reason = match dialect {
            Dialect::Postgres => postgres(&words),
            Dialect::Mysql => mysql(sql, &words),
            // The file itself is opened for reading only.
            Dialect::Sqlite => None,
        };
        if let Some(reason) = reason {
            return Err(Error {
                line: statement.line,
                message: reason.to_owned(),
            });
        }
    }
    Ok(())
}

fn postgres(words: &[String]) -> Option<&'static str> {
    let has = |word: &str| words.iter().any(|found| found == word);
    let first = words.first().map(String::as_str).unwrap_or_default();
    if has("TRANSACTION_READ_ONLY") || has("DEFAULT_TRANSACTION_READ_ONLY") {
        return Some("it changes whether transactions are read-only");
    }
    if has("STANDARD_CONFORMING_STRINGS") || has("BACKSLASH_QUOTE") {
        return Some("it changes how the server reads quotes");
    }
    match first {
        "BEGIN" | "START" if has("WRITE") => Some("it begins a transaction that can write"),
        "SET" if has("WRITE") => Some("it makes transactions writable"),
        "PREPARE" if has("TRANSACTION") => Some("it leaves a transaction behind"),
        _ => None,
    }
}

fn mysql(sql: &str, words: &[String]) -> Option<&'static str> {
    let has = |word: &str| words.iter().any(|found| found == word);
    let first = words.first().map(String::as_str).unwrap_or_default();
    // Code in comments counts as words here, and a statement that begins with it has no word of its own.
    if sql.starts_with("/*") || !MYSQL_READS.contains(&first) {
        return Some("it is not among the statements that can only read");
    }
    if has("OUTFILE") || has("DUMPFILE") {
        return Some("it writes a file");
    }
    if has("SQL_MODE") {
        return Some("it changes how the server reads quotes");
    }
    if has("TX_READ_ONLY") || has("TRANSACTION_READ_ONLY") || has("AUTOCOMMIT") {
        return Some("it changes whether transactions are read-only");
    }
    match first {
        "BEGIN" if has("NOT") || has("ATOMIC") => Some("it is not among the statements that can only read"),
        "BEGIN" | "START" | "SET" if has("WRITE") => Some("it makes transactions writable"),
        "SET" if has("GLOBAL") || has("PERSIST") || has("PASSWORD") || has("STATEMENT") || has("ROLE") => {
            Some("it changes more than this session")
        }
        _ => None,
    }
}

/// Every word in capitals, wherever it stands: in quotes and comments too, so that nothing hides in them. A name that is
/// one of the words above is refused with them; that is the price.
fn words(sql: &str) -> Vec<String> {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_uppercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::split::split, *};

    fn is_refused(dialect: Dialect, script: &str) -> bool {
        check(dialect, script, &split(script, dialect).unwrap()).is_err()
    }

    #[test]
    fn whatever_makes_a_transaction_writable_is_refused_on_postgres() {
        for script in [
            "begin read write; delete from t",
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
            "set default_transaction_read_only = off",
            "select set_config('transaction_read_only', 'off', false)",
            "set session characteristics as transaction read write",
            "set transaction read write",
            "SET /* x */ standard_conforming_strings TO off",
            "prepare transaction 'x'",
        ] {
            assert!(is_refused(Dialect::Postgres, script), "{script}");
        }
        for script in [
            "begin; select 1; commit",
            "begin read only",
            "set search_path to x",
            "select * from writers",
        ] {
            assert!(!is_refused(Dialect::Postgres, script), "{script}");
        }
    }

    #[test]
    fn what_is_not_known_to_read_is_refused_on_mysql() {
        for script in [
            "start transaction read write",
            "set session transaction read write",
            "call p()",
            "execute immediate 'delete from t'",
            "/*!50000 delete from t */",
            "begin not atomic delete from t; end",
            "select 1 /*! into outfile '/tmp/x' */",
            "create table t (a int)",
            "set sql_mode = 'NO_BACKSLASH_ESCAPES'",
            "set @@global.read_only = 0",
            "lock tables t write",
            "load data infile 'x' into table t",
        ] {
            assert!(is_refused(Dialect::Mysql, script), "{script}");
        }
        for script in [
            "select 1; show tables; use b; set @a = 1",
            "begin; select 1; commit",
            "explain select 1",
        ] {
            assert!(!is_refused(Dialect::Mysql, script), "{script}");
        }
    }
}
