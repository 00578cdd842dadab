//! What a connections file may say, and what is told when it says something else.

use super::*;

fn parse(text: &str) -> Result<Connections, Error> {
    Connections::parse(text, Path::new("connections.toml"))
}

#[test]
fn the_only_connection_is_the_default() {
    let connections = parse("[[connection]]\nname = 'a'\nurl = 'sqlite:///x.db'\n").unwrap();
    assert_eq!(connections.find(None).unwrap().name, "a");
    assert_eq!(connections.to_pb()[0].kind, "sqlite");
}

#[test]
fn without_a_default_the_error_lists_the_names() {
    let text = "[[connection]]\nname='a'\nurl='sqlite:///x'\n[[connection]]\nname='b'\nurl='mysql://h/d'\n";
    let failure = parse(text).unwrap().find(None).unwrap_err();
    assert_eq!(failure.reason, "CONNECTION_AMBIGUOUS");
    assert!(failure.message.contains("a, b"), "{}", failure.message);
}

#[test]
fn secrets_appear_neither_in_debug_nor_in_errors() {
    let connections = parse("[[connection]]\nname='a'\nurl='postgres://u:hunter2@h/d'\n").unwrap();
    assert!(!format!("{connections:?}").contains("hunter2"));
    let error = parse("[[connection]]\nname='a'\nurl='postgres://u:hunter2@h/d' oops\n").unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(error.to_string().contains("line 3"), "{error}");
}

#[test]
fn what_is_wrong_with_an_entry_is_told_with_its_file_and_line() {
    let twice = "[[connection]]\nname='a'\nurl='sqlite:///x'\n[[connection]]\nname='a'\nurl='sqlite:///y'\n";
    let two = "[[connection]]\nname='a'\nurl='sqlite:///x'\ndefault=true\n\
               [[connection]]\nname='b'\nurl='sqlite:///y'\ndefault=true\n";
    let odd = "[[connection]]\nname='a'\nurl='oracle:u:hunter2@h'\n";
    for (text, line, word) in [(twice, 5, "twice"), (two, 6, "both say"), (odd, 3, "must start")] {
        let error = parse(text).unwrap_err();
        let told = Connections::broken(&error).find(None).unwrap_err();
        assert_eq!(told.reason, "CONNECTIONS_INVALID");
        let place = format!("connections.toml, line {line}: ");
        assert!(
            told.message.contains(&place) && told.message.contains(word),
            "{}",
            told.message
        );
        assert!(!told.message.contains("hunter2"), "{}", told.message);
    }
}

#[test]
fn the_template_is_a_valid_file_with_no_connection() {
    assert_eq!(parse(TEMPLATE).unwrap().iter().count(), 0);
}

#[test]
fn an_owner_may_settle_sessions_and_forbid_writing() {
    let text = "[[connection]]\nname='a'\nurl='sqlite:///x'\nread_only=true\nsession=['SET a TO 1', 'SET b TO 2']\n";
    let connections = parse(text).unwrap();
    let connection = connections.find(Some("a")).unwrap();
    assert!(connection.is_read_only);
    assert_eq!(connection.session, ["SET a TO 1", "SET b TO 2"]);
}

#[test]
fn a_file_that_cannot_be_used_is_told_as_such() {
    let error = parse("[[connection]\n").unwrap_err();
    let failure = Connections::broken(&error).find(Some("a")).unwrap_err();
    assert_eq!(failure.reason, "CONNECTIONS_INVALID");
    assert!(failure.message.contains("line 1"), "{}", failure.message);
}
