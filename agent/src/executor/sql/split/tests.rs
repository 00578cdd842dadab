//! The splitter against what the databases' own clients do.

use proptest::prelude::*;

use super::{Dialect, place, split};

fn check(dialect: Dialect, script: &str, expected: &[&str]) {
    let statements = split(script, dialect).unwrap();
    let texts: Vec<&str> = statements
        .iter()
        .map(|statement| &script[statement.range.clone()])
        .collect();
    assert_eq!(texts, expected, "script: {script}");
}

#[test]
fn plain_statements_are_cut_at_semicolons() {
    for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
        check(dialect, "SELECT 1; SELECT 2", &["SELECT 1", "SELECT 2"]);
        check(dialect, ";;\n ; SELECT 1;;", &["SELECT 1"]);
        check(dialect, "  -- nothing\n /* at all */ ", &[]);
        check(
            dialect,
            "SELECT 'a;b', \"c;d\"; SELECT ';'",
            &["SELECT 'a;b', \"c;d\"", "SELECT ';'"],
        );
        check(dialect, "SELECT 'it''s;'; SELECT 2", &["SELECT 'it''s;'", "SELECT 2"]);
        check(
            dialect,
            "SELECT /* ; */ 1; -- ;\nSELECT 2 -- ;",
            &["SELECT /* ; */ 1", "SELECT 2"],
        );
    }
}

#[test]
fn trailing_comments_stay_out_of_a_statement() {
    check(Dialect::Postgres, "SELECT 1 -- one\n;", &["SELECT 1"]);
    check(Dialect::Postgres, "\u{feff}SELECT 1", &["SELECT 1"]);
}

#[test]
fn postgres_knows_nested_comments_and_dollar_quotes() {
    let dialect = Dialect::Postgres;
    check(
        dialect,
        "SELECT /* a /* ; */ ; */ 1; SELECT 2",
        &["SELECT /* a /* ; */ ; */ 1", "SELECT 2"],
    );
    check(
        dialect,
        "DO $$ BEGIN; END; $$; SELECT 2",
        &["DO $$ BEGIN; END; $$", "SELECT 2"],
    );
    check(
        dialect,
        "SELECT $a$ ; $$ ; $a$; SELECT $1",
        &["SELECT $a$ ; $$ ; $a$", "SELECT $1"],
    );
    check(dialect, "SELECT a$b$ ; SELECT 1", &["SELECT a$b$", "SELECT 1"]);
    check(
        dialect,
        r"SELECT E'\';', 'a\'; SELECT 2",
        &[r"SELECT E'\';', 'a\'", "SELECT 2"],
    );
}

#[test]
fn postgres_routines_with_an_atomic_body_are_one_statement() {
    let body =
        "CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN 1 END; SELECT 2; END";
    check(Dialect::Postgres, &format!("{body}; SELECT 3"), &[body, "SELECT 3"]);
    check(
        Dialect::Postgres,
        "BEGIN; SELECT 1; END; SELECT 2",
        &["BEGIN", "SELECT 1", "END", "SELECT 2"],
    );
}

#[test]
fn copy_from_stdin_takes_its_data() {
    let script = "COPY t (a, b) FROM stdin;\n1\tx;y\n2\t\\N\n\\.\nSELECT 1;";
    let statements = split(script, Dialect::Postgres).unwrap();
    assert_eq!(statements.len(), 2);
    assert_eq!(&script[statements[0].copy_data.clone().unwrap()], "1\tx;y\n2\t\\N\n");
    assert_eq!(statements[0].tag, "COPY");
    assert_eq!((statements[1].tag.as_str(), statements[1].line), ("SELECT", 5));
    let unfinished = "copy t from STDIN;\n1\n2";
    let statements = split(unfinished, Dialect::Postgres).unwrap();
    assert_eq!(&unfinished[statements[0].copy_data.clone().unwrap()], "1\n2");
}

#[test]
fn commands_of_psql_are_told_apart() {
    let error = split("SELECT 1;\n\\connect other\n", Dialect::Postgres).unwrap_err();
    assert_eq!(error.line, 2);
    assert!(error.to_string().contains("psql"));
}

#[test]
fn mysql_knows_its_delimiters_comments_and_escapes() {
    let dialect = Dialect::Mysql;
    check(
        dialect,
        "DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END//\nDELIMITER ;\nCALL p();",
        &["CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "CALL p()"],
    );
    check(dialect, "delimiter $$\nSELECT 1; SELECT 2$$", &["SELECT 1; SELECT 2"]);
    check(
        dialect,
        "SELECT 1 # ;\n; SELECT 5--1; SELECT 2 -- ;",
        &["SELECT 1", "SELECT 5--1", "SELECT 2"],
    );
    check(
        dialect,
        r#"SELECT 'a\';', "b\";", `c;`; SELECT 2"#,
        &[r#"SELECT 'a\';', "b\";", `c;`"#, "SELECT 2"],
    );
    check(
        dialect,
        "/*!40101 SET NAMES utf8 */; SELECT 1",
        &["/*!40101 SET NAMES utf8 */", "SELECT 1"],
    );
}

#[test]
fn sqlite_triggers_are_one_statement() {
    let trigger =
        "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = CASE WHEN 1 THEN 2 END; DELETE FROM d; END";
    check(
        Dialect::Sqlite,
        &format!("{trigger}; SELECT [;], `;`"),
        &[trigger, "SELECT [;], `;`"],
    );
}

#[test]
fn lines_and_columns_are_counted_from_one() {
    let script = "-- first\n\nSELECT 1;\n  SELECT 2;";
    let statements = split(script, Dialect::Postgres).unwrap();
    assert_eq!((statements[0].line, statements[1].line), (3, 4));
    assert_eq!(place(script, statements[1].range.start), (4, 3));
    assert_eq!(place("aé\nb", 3), (1, 3));
}

proptest! {
    #[test]
    fn any_text_splits_into_ordered_slices(script in "[a-zé;'\"$/*\\\\\n#` \\[\\]-]{0,80}") {
        for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
            if let Ok(statements) = split(&script, dialect) {
                let mut end = 0;
                for statement in statements {
                    prop_assert!(statement.range.start >= end);
                    prop_assert!(script.get(statement.range.clone()).is_some_and(|text| !text.is_empty()));
                    end = statement.range.end;
                }
            }
        }
    }

    #[test]
    fn quoted_semicolons_never_split(text in "[a-z;\n -]{0,40}") {
        let script = format!("SELECT '{text}'; SELECT 2");
        for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
            prop_assert_eq!(split(&script, dialect).unwrap().len(), 2);
        }
    }
}
