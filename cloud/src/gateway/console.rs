//! The console: static files in this binary, with headers that allow nothing but our own code.

use std::borrow::Cow;

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rust_embed::RustEmbed;

/// Built by `cargo xtask ui`; empty in a binary that was built without it.
#[derive(RustEmbed)]
#[folder = "../ui-leptos/dist"]
#[allow_missing = true]
struct Dist;

/// A file with the hash of its content.
struct File {
    data: Cow<'static, [u8]>,
    hash: [u8; 32],
}

/// Only our own files run, and only our own server is talked to. `wasm-unsafe-eval` lets WebAssembly compile; it does
/// not allow JavaScript's `eval`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Shown when this binary was built without the console.
const ABSENT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>OpsLink</title>\
    <h1>OpsLink is running</h1><p>This binary was built without the web console. \
    Build it with <code>cargo xtask ui</code> and start the cloud again, or use <code>cloudctl</code>.</p></html>\n";

/// Answers a request for a file or a page of the console.
pub async fn serve(request: Request) -> Response {
    let mut response = answer(request.method(), request.uri().path(), request.headers(), embedded);
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn embedded(path: &str) -> Option<File> {
    Dist::get(path).map(|file| File {
        data: file.data,
        hash: file.metadata.sha256_hash(),
    })
}

fn answer(method: &Method, path: &str, headers: &HeaderMap, files: impl Fn(&str) -> Option<File>) -> Response {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain; charset=utf-8",
            "only GET and HEAD\n",
        );
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let wanted = path.trim_start_matches('/');
    // Packed copies are an encoding of a file, never a file.
    let name = if wanted.is_empty() || wanted.ends_with(".br") || wanted.ends_with(".gz") {
        "index.html"
    } else {
        wanted
    };
    if let Some(file) = files(name) {
        return send(method, name, headers, file, &files);
    }
    // A missing script must not be answered with a page; every other path is one of the console's own routes, also
    // that of an agent with a dot in its name (`agents/web.example`).
    let is_file = name.starts_with("assets/") || (!name.contains('/') && name.contains('.'));
    if is_file && name != "index.html" {
        return text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "no such file\n");
    }
    match files("index.html") {
        Some(index) => send(method, "index.html", headers, index, &files),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "text/html; charset=utf-8", ABSENT),
    }
}

fn send(
    method: &Method,
    name: &str,
    headers: &HeaderMap,
    file: File,
    files: &impl Fn(&str) -> Option<File>,
) -> Response {
    let tag = format!("\"{}\"", hex::encode(file.hash.get(..16).unwrap_or_default()));
    let packed = [("br", "br"), ("gzip", "gz")]
        .into_iter()
        .filter(|(encoding, _)| accepts(headers, encoding))
        .find_map(|(encoding, suffix)| files(&format!("{name}.{suffix}")).map(|file| (encoding, file)));
    let (encoding, file) = match packed {
        Some((encoding, file)) => (Some(encoding), file),
        None => (None, file),
    };
    // Names under assets/ carry a hash of the content, so they never change.
    let cache = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };

    let mut response = Response::new(Body::empty());
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(file.data.len()));
    if method == Method::GET {
        *response.body_mut() = Body::from(match file.data {
            Cow::Borrowed(data) => Bytes::from_static(data),
            Cow::Owned(data) => Bytes::from(data),
        });
    }
    response
}

fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| {
            let mut pieces = part.split(';').map(str::trim);
            let refused =
                |piece: &str| matches!(piece.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
            pieces.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding)) && !pieces.any(refused)
        })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn text(status: StatusCode, content_type: &'static str, body: &'static str) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(path: &str) -> Option<File> {
        let data: &'static [u8] = match path {
            "index.html" => b"<!doctype html>",
            "assets/app-0123456789ab.js" => b"raw",
            "assets/app-0123456789ab.js.br" => b"br",
            "assets/app-0123456789ab.js.gz" => b"gz",
            "favicon.svg" => b"<svg/>",
            _ => return None,
        };
        Some(File {
            data: Cow::Borrowed(data),
            hash: [7; 32],
        })
    }

    fn get(path: &str, pairs: &[(header::HeaderName, &str)]) -> Response {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.clone(), value.parse().unwrap());
        }
        answer(&Method::GET, path, &headers, built)
    }

    fn value(response: &Response, name: header::HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn hashed_files_never_expire_and_pages_are_always_asked_for() {
        let script = get("/assets/app-0123456789ab.js", &[]);
        assert_eq!(
            value(&script, header::CACHE_CONTROL),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(value(&script, header::CONTENT_TYPE), "text/javascript; charset=utf-8");
        for path in [
            "/",
            "/index.html",
            "/agents",
            "/agents/web.example",
            "/tasks/0192",
            "/favicon.svg",
        ] {
            let page = get(path, &[]);
            assert_eq!(page.status(), StatusCode::OK, "{path}");
            assert_eq!(value(&page, header::CACHE_CONTROL), "no-cache", "{path}");
        }
        assert_eq!(
            value(&get("/agents", &[]), header::CONTENT_TYPE),
            "text/html; charset=utf-8"
        );
    }

    #[test]
    fn the_packed_copy_goes_to_who_takes_it() {
        for (accepted, encoding, length) in [
            ("gzip, deflate, br", "br", "2"),
            ("gzip", "gzip", "2"),
            ("br;q=0, gzip", "gzip", "2"),
            ("identity", "", "3"),
        ] {
            let script = get("/assets/app-0123456789ab.js", &[(header::ACCEPT_ENCODING, accepted)]);
            assert_eq!(value(&script, header::CONTENT_ENCODING), encoding, "{accepted}");
            assert_eq!(value(&script, header::CONTENT_LENGTH), length, "{accepted}");
        }
    }

    #[test]
    fn a_missing_file_is_not_answered_with_a_page() {
        assert_eq!(get("/assets/app-old.js", &[]).status(), StatusCode::NOT_FOUND);
        assert_eq!(get("/robots.txt", &[]).status(), StatusCode::NOT_FOUND);
        assert_eq!(
            answer(&Method::POST, "/", &HeaderMap::new(), built).status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let tag = value(&get("/", &[]), header::ETAG).to_owned();
        assert_eq!(
            get("/", &[(header::IF_NONE_MATCH, &tag)]).status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(
            get("/", &[(header::IF_NONE_MATCH, "\"other\"")]).status(),
            StatusCode::OK
        );
    }

    #[test]
    fn a_binary_without_the_console_says_so() {
        let response = answer(&Method::GET, "/agents", &HeaderMap::new(), |_| None);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn every_answer_forbids_foreign_and_inline_code() {
        let response = serve(Request::new(Body::empty())).await;
        let policy = response
            .headers()
            .get("content-security-policy")
            .unwrap()
            .to_str()
            .unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("'wasm-unsafe-eval'"));
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"));
        assert_eq!(response.headers().get("x-content-type-options").unwrap(), "nosniff");
    }
}
