//! Scripts: what is accepted, what is mended, and who reads them.
//!
//! # Windows line ends
//! A Unix shell takes the CR of `CRLF` as part of the last word of every line: `exit 0\r` is an error, `cd /tmp\r`
//! another, and `#!/bin/sh\r` names a program that is nowhere. Nobody means that. So a script for a shell in which
//! *every* line ends with CRLF is converted, and a note says so. One with mixed line ends is left as it is (the CRs may be
//! data) with a warning. Interpreters beside shells (Python, Perl, Ruby, Node) read CRLF themselves: not touched.
//! The `#!` line is always read without its CR. A UTF-8 byte order mark is removed for shells likewise.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};
use opslink::{event::Level, reason::Reason};

use crate::executor::Failure;

/// So much of a script is looked at for NUL bytes: a program is told by its first bytes.
const PROBE_BYTES: usize = 8 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Interpreters that take a CR as part of a word.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox"];

/// Refuses what is no script.
pub(super) fn check(text: &[u8], name: &str) -> Result<(), Failure> {
    let name = if name.is_empty() { "the script" } else { name };
    if text.is_empty() {
        return Err(Failure::new(
            Reason::ScriptEmpty.code(),
            format!("{name} is empty; there is nothing to run"),
        ));
    }
    let probe = text.get(..PROBE_BYTES).unwrap_or(text);
    if memchr(0, probe).is_some() {
        let message = if text.starts_with(b"\x7fELF") {
            format!("{name} is a compiled program, not a script; copy it to the agent and run it by its path")
        } else {
            format!("{name} is not text (it holds NUL bytes; UTF-16?); save it as UTF-8")
        };
        return Err(Failure::new(Reason::ScriptBinary.code(), message));
    }
    Ok(())
}

/// Who reads the script: the program and what stands before the script's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// Name or path.
    pub(super) program: String,
    /// The one argument of a `#!` line.
    pub(super) argument: Option<String>,
}

/// The interpreter that was asked for, or that of the `#!` line, or `sh`.
pub(super) fn interpreter(text: &[u8], asked: Option<&str>) -> Result<Interpreter, Failure> {
    if let Some(program) = asked {
        return Ok(Interpreter {
            program: program.to_owned(),
            argument: None,
        });
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let Some(rest) = text.strip_prefix(b"#!") else {
        return Ok(Interpreter {
            program: "sh".to_owned(),
            argument: None,
        });
    };
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line)
        .map_err(|_| {
            Failure::new(
                Reason::InvalidArgument.code(),
                "the `#!` line of the script is not UTF-8",
            )
        })?
        .trim();
    // As Linux does it: everything after the first blank is one argument.
    let (program, argument) = match line.split_once([' ', '\t']) {
        Some((program, argument)) => (program, Some(argument.trim().to_owned())),
        None => (line, None),
    };
    if program.is_empty() {
        return Err(Failure::new(
            Reason::InvalidArgument.code(),
            "the `#!` line of the script names no interpreter",
        ));
    }
    Ok(Interpreter {
        program: program.to_owned(),
        argument,
    })
}

impl Interpreter {
    /// Whether it is a Unix shell, also by way of `env`.
    fn is_shell(&self) -> bool {
        let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let program = base(&self.program);
        let by_env = self.argument.as_deref().filter(|_| program == "env").map(|argument| {
            let words = argument
                .split_whitespace()
                .find(|word| !word.starts_with('-') && !word.contains('='));
            base(words.unwrap_or_default())
        });
        SHELLS.contains(&by_env.unwrap_or(program).as_str())
    }
}

/// What was done to a script, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mended {
    pub(super) level: Level,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Makes a script readable for its interpreter; see the module.
pub(super) fn mend<'a>(text: &'a [u8], interpreter: &Interpreter) -> (Cow<'a, [u8]>, Vec<Mended>) {
    let mut mended = Vec::new();
    if !interpreter.is_shell() {
        return (Cow::Borrowed(text), mended);
    }
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if body.len() < text.len() {
        mended.push(Mended {
            level: Level::Info,
            reason: Reason::ScriptBomRemoved.code(),
            message: "the script began with a byte order mark, which shells cannot read; it was removed. \
                      Save the file as UTF-8 without BOM"
                .to_owned(),
        });
    }
    let crlf = memchr_iter(b'\n', body).filter(|at| at.checked_sub(1).and_then(|cr| body.get(cr)) == Some(&b'\r'));
    let (crlf, lf) = (crlf.count(), memchr_iter(b'\n', body).count());
    // A script of one line without a line end may still carry the CR of its author's editor.
    let lone = lf == 0 && body.ends_with(b"\r");
    if lone || (crlf > 0 && crlf == lf) {
        mended.push(Mended {
            level: Level::Warning,
            reason: Reason::ScriptCrlfConverted.code(),
            message: "the script has Windows line ends (CRLF), which a Unix shell takes as part of each command; \
                      they were converted. Save the file with LF line ends"
                .to_owned(),
        });
        return (Cow::Owned(without_cr(body)), mended);
    }
    if crlf > 0 {
        mended.push(Mended {
            level: Level::Warning,
            reason: Reason::ScriptCrlfMixed.code(),
            message: format!(
                "{crlf} of the script's {lf} lines end with CRLF, which a Unix shell takes as part of the command; \
                 the script was left as it is. If commands are 'not found', save it with LF line ends"
            ),
        });
    }
    (Cow::Borrowed(body), mended)
}

/// Removes each CR that stands before an LF or at the end.
fn without_cr(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> Interpreter {
        interpreter(text, None).unwrap()
    }

    #[test]
    fn the_interpreter_is_the_one_asked_for_or_the_first_line_or_sh() {
        assert_eq!(interpreter(b"#!/bin/sh\n", Some("python3")).unwrap().program, "python3");
        assert_eq!(of(b"echo\n").program, "sh");
        let env = of(b"#! /usr/bin/env  -S python3 -u \r\nx");
        assert_eq!(
            (env.program.as_str(), env.argument.as_deref()),
            ("/usr/bin/env", Some("-S python3 -u"))
        );
        assert_eq!(of(b"\xef\xbb\xbf#!/bin/bash\r\n").program, "/bin/bash");
        assert_eq!(interpreter(b"#!  \n", None).unwrap_err().reason, "INVALID_ARGUMENT");
    }

    #[test]
    fn crlf_is_converted_for_shells_only_and_said() {
        let script = b"#!/usr/bin/env bash\r\necho a\r\necho b\r";
        let (text, mended) = mend(script, &of(script));
        assert_eq!(&*text, b"#!/usr/bin/env bash\necho a\necho b");
        assert_eq!(mended[0].reason, "SCRIPT_CRLF_CONVERTED");

        let python = b"#!/usr/bin/python3\r\nprint(1)\r\n";
        let (text, mended) = mend(python, &of(python));
        assert_eq!((&*text, mended.len()), (&python[..], 0));
    }

    #[test]
    fn mixed_line_ends_are_left_as_they_are_with_a_warning() {
        let script = b"printf 'a\r\n'\necho b\n";
        let (text, mended) = mend(script, &of(script));
        assert_eq!((&*text, mended[0].reason), (&script[..], "SCRIPT_CRLF_MIXED"));
        assert!(
            mended[0].message.contains("1 of the script's 3"),
            "{}",
            mended[0].message
        );
    }

    #[test]
    fn programs_and_utf16_are_refused_as_binary() {
        for binary in [&b"\x7fELF\x02\x01\x01\0\0"[..], b"\xff\xfee\0c\0h\0o\0"] {
            assert_eq!(check(binary, "x").unwrap_err().reason, "SCRIPT_BINARY");
        }
        assert_eq!(check(b"", "x").unwrap_err().reason, "SCRIPT_EMPTY");
        check("echo ü\n".as_bytes(), "x").unwrap();
        check(b"echo \xff\n", "x").unwrap();
    }
}
