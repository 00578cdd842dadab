//! Kinds on the wire and back, and what is asked of them.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{reason::Reason, task::TaskSpec};

fn shell(shell: pb::ShellSpec) -> Result<TaskSpec, InvalidMessage> {
    pb::TaskSpec {
        action: Some(pb::task_spec::Action::Shell(shell)),
        timeout_secs: 0,
        grace_secs: 0,
    }
    .try_into()
}

fn sql(sql: pb::SqlSpec) -> Result<TaskSpec, InvalidMessage> {
    pb::TaskSpec {
        action: Some(pb::task_spec::Action::Sql(sql)),
        timeout_secs: 5,
        grace_secs: 1,
    }
    .try_into()
}

#[test]
fn bad_scripts_have_their_own_reasons() {
    let script = |script: &[u8]| {
        let script = Bytes::copy_from_slice(script);
        sql(pb::SqlSpec {
            script,
            ..Default::default()
        })
        .unwrap_err()
        .code
    };
    assert_eq!(script(b""), Reason::ScriptEmpty);
    assert_eq!(script(b" \r\n\t"), Reason::ScriptEmpty);
    assert_eq!(script(b"select '\xff'"), Reason::ScriptBinary);
    assert_eq!(script(b"select \0"), Reason::ScriptBinary);
    assert_eq!(script(&vec![b'a'; SCRIPT_MAX + 1]), Reason::ScriptTooLarge);

    let named = pb::ShellSpec {
        script_name: "empty.sh".into(),
        ..Default::default()
    };
    assert_eq!(shell(named).unwrap_err().code, Reason::ScriptEmpty);
    let elf = pb::ShellSpec {
        script: Bytes::from_static(b"\x7fELF\x02\x00"),
        ..Default::default()
    };
    assert_eq!(shell(elf).unwrap_err().code, Reason::ScriptBinary);
}

#[test]
fn a_byte_order_mark_does_not_reach_the_database() {
    let spec = sql(pb::SqlSpec {
        script: Bytes::from_static(b"\xef\xbb\xbfselect 1"),
        ..Default::default()
    })
    .unwrap();
    let Action::Sql(sql) = spec.action else {
        panic!("not sql")
    };
    assert_eq!(sql.script, "select 1");
}

#[test]
fn impossible_shell_specs_name_their_field() {
    let field = |spec: pb::ShellSpec| shell(spec).unwrap_err().field;
    assert_eq!(field(pb::ShellSpec::default()), "spec.shell.argv");
    assert_eq!(
        field(pb::ShellSpec {
            argv: vec![String::new()],
            ..Default::default()
        }),
        "spec.shell.argv"
    );
    assert_eq!(
        field(pb::ShellSpec {
            argv: vec!["a\0".into()],
            ..Default::default()
        }),
        "spec.shell.argv"
    );
    let env = HashMap::from([("A=B".to_owned(), "x".to_owned())]);
    assert_eq!(
        field(pb::ShellSpec {
            argv: vec!["a".into()],
            env,
            ..Default::default()
        }),
        "spec.shell.env"
    );
}

#[test]
fn continue_inside_one_transaction_is_refused() {
    let spec = pb::SqlSpec {
        script: Bytes::from_static(b"select 1"),
        transaction: pb::SqlTransaction::Single.into(),
        on_error: pb::SqlOnError::Continue.into(),
        ..Default::default()
    };
    assert_eq!(sql(spec).unwrap_err().field, "spec.sql.on_error");
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from)
}

fn any_action() -> impl Strategy<Value = Action> {
    let word = "[a-z/ $'é|]{1,12}";
    let argv = proptest::collection::vec(word, 1..5).prop_map(ShellProgram::Argv);
    let script = (
        word,
        proptest::option::of(word),
        proptest::collection::vec(word, 0..3),
        "[a-z.]{0,8}",
    )
        .prop_map(|(text, interpreter, args, name)| ShellProgram::Script {
            text: text.into(),
            interpreter,
            args,
            name,
        });
    let env = proptest::collection::btree_map("[A-Z_]{1,5}", "[ -~]{0,9}", 0..3);
    let shell = (
        prop_oneof![argv, script],
        env,
        proptest::option::of(word),
        any_bytes(),
        proptest::option::of(word),
    )
        .prop_map(|(program, env, cwd, stdin, run_as)| {
            Action::Shell(ShellSpec {
                program,
                env,
                cwd,
                stdin,
                run_as,
            })
        });
    let sql = (
        "[a-z;'é\n]{1,40}x",
        proptest::option::of(word),
        any::<bool>(),
        proptest::option::of(1..9_u64),
    )
        .prop_map(|(script, connection, flag, max_rows)| {
            Action::Sql(SqlSpec {
                script,
                connection,
                transaction: if flag {
                    SqlTransaction::Single
                } else {
                    SqlTransaction::PerStatement
                },
                on_error: if flag { SqlOnError::Stop } else { SqlOnError::Continue },
                max_rows,
                statement_timeout: max_rows.map(Duration::from_secs),
                read_only: flag,
                name: "a.sql".into(),
            })
        });
    let step = prop_oneof![
        any::<u32>().prop_map(|ms| FakeStep::Sleep(Duration::from_millis(ms.into()))),
        any_bytes().prop_map(FakeStep::Stdout),
        any_bytes().prop_map(FakeStep::Stderr),
        any::<i32>().prop_map(FakeStep::Exit),
        word.prop_map(FakeStep::Fail),
        any::<u64>().prop_map(FakeStep::Flood),
        any::<u32>().prop_map(|ms| FakeStep::Stubborn(Duration::from_millis(ms.into()))),
    ];
    let fake = proptest::collection::vec(step, 0..5).prop_map(|steps| Action::Fake(FakeSpec { steps }));
    prop_oneof![shell, sql, fake]
}

proptest! {
    #[test]
    fn valid_specs_round_trip(action in any_action(), timeout in 1..u32::MAX, grace in 1..u32::MAX) {
        let spec = TaskSpec {
            action,
            timeout: Duration::from_secs(timeout.into()),
            grace: Duration::from_secs(grace.into()),
        };
        prop_assert_eq!(TaskSpec::try_from(pb::TaskSpec::from(spec.clone())).unwrap(), spec);
    }
}

#[test]
fn a_name_tells_a_kind_and_a_spec_is_found_under_its_own_only() {
    assert_eq!(NAMES, ["shell", "sql", "fake"]);
    let fake = Action::Fake(FakeSpec::default());
    assert_eq!(fake.kind(), FakeSpec::NAME);
    assert!(FakeSpec::of(&fake).is_some() && ShellSpec::of(&fake).is_none() && SqlSpec::of(&fake).is_none());
}

#[test]
fn equal_maps_are_equal_bytes_and_leave_the_spec() {
    let spec = |names: &[&str]| {
        let env = names.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect();
        pb::TaskSpec {
            action: Some(pb::task_spec::Action::Shell(pb::ShellSpec {
                env,
                ..Default::default()
            })),
            ..Default::default()
        }
    };
    let (mut one, mut other) = (spec(&["B", "A"]), spec(&["A", "B"]));
    let bytes = take_maps(&mut one);
    let lengths_and_texts = ["A", "v", "B", "v"].map(|text| [&1_u64.to_le_bytes()[..], text.as_bytes()].concat());
    assert_eq!(bytes, lengths_and_texts.concat());
    assert_eq!(take_maps(&mut other), bytes);
    assert_eq!(one, spec(&[]));
    assert_eq!(take_maps(&mut one), b"");
    assert_eq!(take_maps(&mut pb::TaskSpec::default()), b"");
}

#[test]
fn a_summary_is_one_line_that_tells_what_is_done() {
    let summary = |action: pb::task_spec::Action| Action::try_from(action).unwrap().summary();
    let script = |text: &'static [u8], name: &str| {
        summary(pb::task_spec::Action::Shell(pb::ShellSpec {
            script: Bytes::from_static(text),
            script_name: name.to_owned(),
            ..Default::default()
        }))
    };
    assert_eq!(script(b"#!/bin/sh\n\n# words\n  df -h\nls", ""), "df -h");
    assert_eq!(script(b"#!/bin/true\n", ""), "#!/bin/true");
    assert_eq!(script(b"df -h", "disk.sh"), "disk.sh");
    let command = pb::ShellSpec {
        argv: vec!["uname".into(), "-a".into()],
        ..Default::default()
    };
    assert_eq!(summary(pb::task_spec::Action::Shell(command)), "uname -a");
    let sql = pb::SqlSpec {
        script: format!("select\n  1, {}", "é".repeat(SUMMARY_MAX)).into(),
        ..Default::default()
    };
    let shown = summary(pb::task_spec::Action::Sql(sql));
    assert!(
        shown.starts_with("select 1, é") && shown.chars().count() == SUMMARY_MAX,
        "{shown}"
    );
    assert_eq!(summary(pb::task_spec::Action::Fake(pb::FakeSpec::default())), "0 steps");
}

#[test]
fn only_sql_is_given_the_connections() {
    let needs = |action: Action| action.needs().connections;
    assert!(!needs(Action::Fake(FakeSpec::default())));
    let sql = pb::SqlSpec {
        script: Bytes::from_static(b"select 1"),
        ..Default::default()
    };
    assert!(needs(Action::Sql(sql.try_into().unwrap())));
    let shell = pb::ShellSpec {
        argv: vec!["true".into()],
        ..Default::default()
    };
    assert!(!needs(Action::Shell(shell.try_into().unwrap())));
}
