//! Messages by hand: to a member, and from somebody who only seems to be one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

pub(crate) const TOKEN: &str = "the-token-0123456789";

/// Sends one body to a member and returns the status line and the body of the answer.
pub(crate) fn post(address: &str, token: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /group HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// Listens and answers every request with this body, until the process ends. Returns its address.
pub(crate) fn impostor(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 16 * 1024];
            let _ = stream.read(&mut request);
            let length = answer.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{answer}");
        }
    });
    address
}
