//! How many connections one actor has, and answers that nobody takes.

use super::*;

/// Asks for this and stays; returns once the answer has begun.
async fn ask<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(stream: &mut S, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    let read = timeout(LIMIT, stream.read_exact(&mut answer))
        .await
        .expect("an answer in time");
    read.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

/// Waits until the server has ended this connection.
async fn ended<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) {
    // However it ends: what matters is that it does.
    let _ = timeout(LIMIT, stream.read_to_end(&mut Vec::new()))
        .await
        .expect("an end");
}

/// R5: nothing counted the connections of a token, and all open files were theirs.
#[tokio::test]
async fn above_its_number_the_oldest_idle_connection_of_a_token_ends() {
    let server = start_tcp(None, Limits::default());
    let mut all = Vec::new();
    for _ in 0..129 {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        ask(&mut stream, "/login").await;
        all.push(stream);
    }
    ended(&mut all[0]).await;
    for stream in &mut all[1..] {
        ask_again(stream).await;
    }
}

/// Of the first answer the rest is still to be read.
async fn ask_again(stream: &mut TcpStream) {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answers = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answers))
        .await
        .expect("an end")
        .unwrap();
    assert!(answers.contains("certificate=false"), "{answers}");
}

#[tokio::test]
async fn a_fifth_connection_with_the_certificate_of_one_agent_ends_the_first() {
    let authority = authority().await;
    let tls = config::server_config(Arc::clone(&authority), current(&authority), Arc::new(|_| true)).unwrap();
    let server = start_tcp(Some(tls), Limits::default());
    let (one, other) = (
        client(&authority, Some(AgentId::new())),
        client(&authority, Some(AgentId::new())),
    );
    let mut others = connect(server.addr, &other).await.unwrap();
    ask(&mut others, "/endless").await;
    let mut links = Vec::new();
    for _ in 0..5 {
        let mut link = connect(server.addr, &one).await.unwrap();
        ask(&mut link, "/endless").await;
        links.push(link);
    }
    ended(&mut links[0]).await;
    let mut byte = [0];
    for link in links[1..].iter_mut().chain([&mut others]) {
        let read = futures::poll!(std::pin::pin!(async {
            // The rest of the head, then nothing.
            while link.read(&mut byte).await.is_ok_and(|read| read > 0) {}
        }));
        assert!(read.is_pending(), "it lives on");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_a_known_connection_too() {
    let limits = Limits {
        untaken: Duration::from_millis(50),
        drain: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = start_tcp(None, limits);
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    ask(&mut stream, "/login?whole").await;
    ended(&mut stream).await;
}
