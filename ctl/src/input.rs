//! What the user hands over, looked at before anything is sent: scripts, SQL, stdin, `K=V` pairs.

use std::{
    io::{self, BufRead, Read},
    path::Path,
};

use crate::failure::Failure;

/// The cloud's own limit for a script (see `task.proto`).
pub(crate) const MAX_SCRIPT_BYTES: usize = 512 * 1024;

/// What the bytes are for: the two kinds are looked at differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A program for an interpreter.
    Script,
    /// SQL: must be UTF-8.
    Sql,
    /// Bytes for a process: anything goes.
    Stdin,
}

/// What to do about Windows line ends in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnds {
    /// Refuse and say how to convert.
    Refuse,
    /// Turn CR LF into LF.
    Convert,
}

/// Takes a value that says something. An empty one is mostly a variable that was not set: without its part of the
/// selector, or without its user, a task would run elsewhere than was meant.
pub(crate) fn not_blank(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; leave the option out if that is meant".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Reads a file, or stdin for `-`, and checks it.
pub(crate) fn read(path: &Path, purpose: Purpose, line_ends: LineEnds) -> Result<Vec<u8>, Failure> {
    let shown = path.display().to_string();
    let bytes = if shown == "-" {
        read_limited(&mut io::stdin().lock(), &shown)?
    } else {
        read_file(path, &shown)?
    };
    check(bytes, &shown, purpose, line_ends)
}

/// Reads the next line of stdin; `flag` is the one that asks for it.
pub(crate) fn line_of_stdin(flag: &str) -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::unexpected(&error.to_string()))?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() {
        return Err(Failure::usage("STDIN_EMPTY", &[("flag", flag)]));
    }
    Ok(line.to_owned())
}

fn read_file(path: &Path, shown: &str) -> Result<Vec<u8>, Failure> {
    // The size is asked first: a 100 GB file must not be read to find out that it is too big.
    let meta = std::fs::metadata(path).map_err(|error| unreadable(shown, &error))?;
    if meta.is_dir() {
        return Err(Failure::usage("SCRIPT_IS_FOLDER", &[("name", shown)]));
    }
    if meta.is_file() && meta.len() > MAX_SCRIPT_BYTES as u64 {
        return Err(too_large(shown, Some(meta.len())));
    }
    let mut file = std::fs::File::open(path).map_err(|error| unreadable(shown, &error))?;
    read_limited(&mut file, shown)
}

fn read_limited(reader: &mut dyn Read, shown: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_SCRIPT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(shown, &error))?;
    if bytes.len() > MAX_SCRIPT_BYTES {
        Err(too_large(shown, None))
    } else {
        Ok(bytes)
    }
}

fn unreadable(shown: &str, error: &io::Error) -> Failure {
    Failure::usage("SCRIPT_NOT_FOUND", &[("name", shown), ("detail", &error.to_string())])
}

fn too_large(shown: &str, size: Option<u64>) -> Failure {
    let size = size.map_or_else(|| "> 512 KiB".to_owned(), show_bytes);
    Failure::usage(
        "SCRIPT_TOO_LARGE",
        &[("name", shown), ("size", &size), ("limit", "512 KiB")],
    )
}

/// Checks bytes that came from a file, stdin or the command line.
pub(crate) fn check(bytes: Vec<u8>, shown: &str, purpose: Purpose, line_ends: LineEnds) -> Result<Vec<u8>, Failure> {
    match purpose {
        Purpose::Stdin => Ok(bytes),
        Purpose::Sql => {
            if bytes.iter().all(u8::is_ascii_whitespace) {
                return Err(Failure::usage("SCRIPT_EMPTY", &[("name", shown)]));
            }
            match std::str::from_utf8(&bytes) {
                Ok(_) => Ok(bytes),
                Err(error) => {
                    let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                    let line = memchr::memchr_iter(b'\n', before).count() + 1;
                    Err(Failure::usage(
                        "SCRIPT_NOT_UTF8",
                        &[("name", shown), ("line", &line.to_string())],
                    ))
                }
            }
        }
        Purpose::Script => {
            if bytes.iter().all(u8::is_ascii_whitespace) {
                return Err(Failure::usage("SCRIPT_EMPTY", &[("name", shown)]));
            }
            if memchr::memchr(0, &bytes).is_some() {
                return Err(Failure::usage("SCRIPT_BINARY", &[("name", shown)]));
            }
            if memchr::memmem::find(&bytes, b"\r\n").is_none() {
                return Ok(bytes);
            }
            match line_ends {
                LineEnds::Refuse => Err(Failure::usage("SCRIPT_HAS_CRLF", &[("name", shown)])),
                LineEnds::Convert => Ok(without_carriage_returns(&bytes)),
            }
        }
    }
}

fn without_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// Returns the file name for messages; `stdin` for `-`.
pub(crate) fn display_name(path: &Path) -> String {
    match path.file_name() {
        Some(name) if name != "-" => name.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}

/// Shows a size: `512 B`, `1.4 MiB`.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(crate) fn show_bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut shown = format!("{bytes} B");
    for unit in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        shown = format!("{value:.1} {unit}");
    }
    shown
}

/// Reads `NAME=VALUE`; clap names the flag.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8], purpose: Purpose) -> String {
        check(bytes.to_vec(), "x", purpose, LineEnds::Refuse)
            .unwrap_err()
            .reason
    }

    #[test]
    fn bad_scripts_are_told_apart() {
        assert_eq!(reason(b"", Purpose::Script), "SCRIPT_EMPTY");
        assert_eq!(reason(b" \n\t", Purpose::Script), "SCRIPT_EMPTY");
        assert_eq!(reason(b"\x7fELF\0\0", Purpose::Script), "SCRIPT_BINARY");
        assert_eq!(reason(b"echo a\r\necho b\r\n", Purpose::Script), "SCRIPT_HAS_CRLF");
    }

    #[test]
    fn windows_line_ends_can_be_converted() {
        let bytes = check(b"a\r\nb\rc\r\n\r\n".to_vec(), "x", Purpose::Script, LineEnds::Convert).unwrap();
        assert_eq!(bytes, b"a\nb\rc\n\n");
    }

    #[test]
    fn sql_must_be_utf8_and_the_line_is_named() {
        let failure = check(
            b"select 1;\nselect '\xff';".to_vec(),
            "x",
            Purpose::Sql,
            LineEnds::Refuse,
        )
        .unwrap_err();
        assert_eq!(failure.reason, "SCRIPT_NOT_UTF8");
        assert!(failure.why.contains('2') || failure.what.contains('2'), "{failure:?}");
        assert!(check(b"select 1;\r\n".to_vec(), "x", Purpose::Sql, LineEnds::Refuse).is_ok());
    }

    #[test]
    fn stdin_may_be_anything() {
        assert!(check(b"\0\xff\r\n".to_vec(), "-", Purpose::Stdin, LineEnds::Refuse).is_ok());
        assert!(check(Vec::new(), "-", Purpose::Stdin, LineEnds::Refuse).is_ok());
    }

    #[test]
    fn files_that_cannot_be_sent_are_told_without_reading_them_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.sql");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(100 * 1024 * 1024)
            .unwrap();
        let reason = |path: &Path| read(path, Purpose::Sql, LineEnds::Refuse).unwrap_err().reason;
        let failure = read(&path, Purpose::Sql, LineEnds::Refuse).unwrap_err();
        assert_eq!(failure.reason, "SCRIPT_TOO_LARGE");
        assert!(failure.what.contains("100.0 MiB"), "{}", failure.what);
        assert_eq!(reason(folder.path()), "SCRIPT_IS_FOLDER");
        assert_eq!(reason(&folder.path().join("no.sql")), "SCRIPT_NOT_FOUND");
    }

    #[test]
    fn the_limit_itself_still_fits() {
        let mut at_limit: &[u8] = &vec![b'x'; MAX_SCRIPT_BYTES];
        assert_eq!(read_limited(&mut at_limit, "-").unwrap().len(), MAX_SCRIPT_BYTES);
        let mut above: &[u8] = &vec![b'x'; MAX_SCRIPT_BYTES + 1];
        assert_eq!(read_limited(&mut above, "-").unwrap_err().reason, "SCRIPT_TOO_LARGE");
    }

    #[test]
    fn pairs_need_a_name() {
        assert_eq!(key_value("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert_eq!(key_value("A=").unwrap(), ("A".into(), String::new()));
        assert!(key_value("=b").is_err());
        assert!(key_value("A").is_err());
    }
}
