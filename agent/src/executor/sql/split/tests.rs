//! The splitter against what the databases' own clients do.

use proptest::prelude::*;

use super::{Dialect, Quoting, place, split, split_as};

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
fn what_follows_copy_on_its_line_is_a_statement_and_the_data_comes_after_it() {
    let script = "COPY a FROM stdin; COPY b FROM stdin; DELETE FROM c; -- now\n1\n\\.\n2\n\\.\nSELECT 1;";
    let statements = split(script, Dialect::Postgres).unwrap();
    let texts: Vec<&str> = statements.iter().map(|one| &script[one.range.clone()]).collect();
    assert_eq!(
        texts,
        ["COPY a FROM stdin", "COPY b FROM stdin", "DELETE FROM c", "SELECT 1"]
    );
    let data = |index: usize| &script[statements[index].copy_data.clone().unwrap()];
    assert_eq!((data(0), data(1)), ("1\n", "2\n"));
    assert_eq!(statements[3].line, 6);
    let torn = split("COPY a FROM stdin; SELECT 1 +\n1\n\\.\n2;", Dialect::Postgres).unwrap_err();
    assert!(torn.message.contains("line of its own"), "{torn}");
    // The word elsewhere is no data.
    let to_file = split(
        "COPY (SELECT 1 AS stdin FROM stdin) TO '/tmp/x'; SELECT 2",
        Dialect::Postgres,
    )
    .unwrap();
    assert!(to_file[0].copy_data.is_none());
}

#[test]
fn commands_of_clients_are_found_before_anything_is_sent() {
    for (dialect, script, line) in [
        (Dialect::Postgres, "SELECT 1;\n\\connect other\n", 2),
        (Dialect::Postgres, "SELECT 1;\nSELECT 2 AS a \\gset\n", 2),
        (Dialect::Postgres, "SELECT 1\\; SELECT 2;", 1),
        (Dialect::Mysql, "SELECT 1;\n\\. other.sql\n", 2),
        (Dialect::Sqlite, "SELECT 1;\n.mode csv\n", 2),
    ] {
        assert_eq!(split(script, dialect).unwrap_err().line, line, "{script}");
    }
    check(
        Dialect::Postgres,
        "\\restrict Kx9\n\nSET a = 1;\n\\unrestrict Kx9\n",
        &["SET a = 1"],
    );
    check(
        Dialect::Postgres,
        r"SELECT '\connect', $$\gset$$ -- \x",
        &[r"SELECT '\connect', $$\gset$$"],
    );
    check(
        Dialect::Mysql,
        "SELECT 1\\G SELECT \\N\\g SELECT 2",
        &["SELECT 1", "SELECT \\N", "SELECT 2"],
    );
    check(
        Dialect::Mysql,
        "\\g SELECT 1;\\G\\g SELECT 2",
        &["SELECT 1", "SELECT 2"],
    );
    check(
        Dialect::Mysql,
        "use shop\nSELECT 1; USE b; SELECT 2",
        &["use shop", "SELECT 1", "USE b", "SELECT 2"],
    );
}

#[test]
fn a_comment_that_is_never_closed_is_an_error() {
    for dialect in [Dialect::Postgres, Dialect::Mysql] {
        let error = split("SELECT 1;\n/* DROP\nSELECT 2;", dialect).unwrap_err();
        assert_eq!(error.line, 2);
    }
    assert_eq!(split("SELECT /*! 1; SELECT 2", Dialect::Mysql).unwrap_err().line, 1);
}

#[test]
fn delimiters_in_parentheses_end_nothing_on_postgres() {
    let rule = "create rule r as on delete to t do also (insert into log values (1); delete from audit; select 1)";
    check(Dialect::Postgres, &format!("{rule}; select 2"), &[rule, "select 2"]);
    let case = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT (CASE WHEN true THEN 1 END); SELECT 2; END";
    check(Dialect::Postgres, &format!("{case}; select 2"), &[case, "select 2"]);
    check(
        Dialect::Postgres,
        "CREATE TABLE function (begin int, atomic int); SELECT begin atomic FROM x; SELECT 2",
        &[
            "CREATE TABLE function (begin int, atomic int)",
            "SELECT begin atomic FROM x",
            "SELECT 2",
        ],
    );
}

#[test]
fn escape_strings_go_on_after_a_line_end() {
    let one = "SELECT E'a\\'b' -- ;\n  '\\';c'";
    check(Dialect::Postgres, &format!("{one}; SELECT 2"), &[one, "SELECT 2"]);
    check(
        Dialect::Postgres,
        r"SELECT E'a' ; SELECT '\'; SELECT 3",
        &["SELECT E'a'", r"SELECT '\'", "SELECT 3"],
    );
}

#[test]
fn the_servers_own_reading_of_quotes_is_followed() {
    let off = r"SET standard_conforming_strings = off; SELECT 'a\';b'; SET standard_conforming_strings TO 'on'; SELECT '\'; SELECT 1";
    assert_eq!(split(off, Dialect::Postgres).unwrap().len(), 5);
    let everywhere = Quoting {
        backslash_everywhere: true,
        no_backslash: false,
    };
    assert_eq!(
        split_as(r"SELECT 'a\';b'; SELECT 1", Dialect::Postgres, everywhere)
            .unwrap()
            .len(),
        2
    );
    let none = Quoting {
        backslash_everywhere: false,
        no_backslash: true,
    };
    assert_eq!(
        split_as(r"SELECT '\'; SELECT 1", Dialect::Mysql, none).unwrap().len(),
        2
    );
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
    check(
        dialect,
        "/*M!100100 CREATE TABLE a (b int) */; /*!50003 SET a = ';*/' ; */; SELECT /*+ x; */ 1; SELECT 2",
        &[
            "/*M!100100 CREATE TABLE a (b int) */",
            "/*!50003 SET a = ';*/' ; */",
            "SELECT /*+ x; */ 1",
            "SELECT 2",
        ],
    );
    check(
        dialect,
        "DELIMITER $$\nBEGIN NOT ATOMIC SELECT 1; END$$\nSELECT 2$$",
        &["BEGIN NOT ATOMIC SELECT 1; END", "SELECT 2"],
    );
    check(
        dialect,
        "DELIMITER \"//\"\nSELECT 1; SELECT 2//",
        &["SELECT 1; SELECT 2"],
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
    check(
        Dialect::Sqlite,
        "CREATE TABLE t (trigger TEXT); CREATE TABLE trigger (a); SELECT 1",
        &["CREATE TABLE t (trigger TEXT)", "CREATE TABLE trigger (a)", "SELECT 1"],
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
