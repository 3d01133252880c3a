//! Noise on the HTTP port and on both peer ports of every node.

use crate::lab::Lab;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use twinfold_types::genesis::GenesisValidator;

#[test]
fn random_bytes_on_every_port_harm_nobody() {
    let mut lab = Lab::start();
    let mut draw = ChaCha8Rng::seed_from_u64(3);
    for index in 0..4 {
        for port in ports(&lab, index) {
            for length in [1, 300, 100_000] {
                noise(port, &mut draw, length);
            }
            half_open(port);
        }
    }
    bad_requests(&lab);
    lab.works();
    lab.same_root();
    for index in 0..4 {
        assert!(!lab.log(index).contains("panicked"), "{}", lab.log(index));
    }
}

/// HTTP, votes and blocks, payloads.
fn ports(lab: &Lab, index: usize) -> [u16; 3] {
    let entry = std::fs::read_to_string(lab.folder_of(index).join("validator.json")).unwrap();
    let entry: GenesisValidator = serde_json::from_str(&entry).unwrap();
    let last = |text: &str, before: char| text.rsplit(before).next().unwrap().parse().unwrap();
    [last(&lab.url(index), ':'), last(&entry.address, '/'), last(&entry.payload_address, '/')]
}

/// The node may close at any time; what it answers is read and forgotten.
fn noise(port: u16, draw: &mut ChaCha8Rng, length: usize) {
    let bytes: Vec<u8> = (0..length).map(|_| draw.random()).collect();
    let mut stream = connect(port);
    for piece in bytes.chunks(7_000) {
        if stream.write_all(piece).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut [0; 4_096]);
}

/// A client that says the first words of the protocol and no more.
fn half_open(port: u16) {
    let mut stream = connect(port);
    let _ = stream.write_all(b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff");
    let _ = stream.read(&mut [0; 64]);
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a time-out");
    stream
}

/// Requests that are nearly HTTP.
fn bad_requests(lab: &Lab) {
    let port = ports(lab, 0)[0];
    let long = "a".repeat(100_000);
    for request in [
        "GET /v1/status HTTP/9.9\r\n\r\n".to_string(),
        "GET\r\n\r\n".to_string(),
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"),
        "POST /v1/txs HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n"
            .to_string(),
        "POST /v1/txs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_string(),
    ] {
        let mut stream = connect(port);
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        let _ = stream.write_all(request.as_bytes());
        let mut answer = [0; 64];
        let read = stream.read(&mut answer).unwrap_or(0);
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(!text.contains(" 200 "), "{text} to {}", &request[..40.min(request.len())]);
    }
}
