//! The client against small servers that answer as told.

use super::*;
use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};
use twinfold_types::{
    BlobId, SecretKey, Stake, TxId,
    api::{Level, TxStatus},
    genesis::{ChainParams, FORMAT_VERSION, GenesisValidator},
    key::Signer,
    member::{Member, Role},
    stake::StakeParams,
};

const ID: TxId = TxId(Digest([7; 32]));

/// Answers every request on its port with the same status and body.
pub fn server(status: u16, body: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = body.to_vec();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}

/// A port that nobody listens on.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn client(nodes: Vec<String>) -> Client {
    Client::new(ClientOptions { nodes, ..ClientOptions::default() }).unwrap()
}

fn status(level: Level) -> Vec<u8> {
    let id = ID;
    serde_json::to_vec(&TxStatus { id, level, receipt: None, result: None }).unwrap()
}

#[test]
fn a_node_that_is_down_is_passed_over_for_the_next() {
    let client = client(vec![nobody(), server(200, &status(Level::Executed))]);
    assert_eq!(client.tx(&ID).unwrap().level, Level::Executed);
}

#[test]
fn when_no_node_answers_each_is_named_with_its_reason() {
    let (one, other) = (nobody(), nobody());
    let error = client(vec![one.clone(), other.clone()]).status().unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&one) && text.contains(&other) && text.contains("refused"), "{text}");
    assert_eq!(error.exit_code(), crate::error::exit::UNREACHABLE);
    assert!(error.hint().contains("--node"));
}

#[test]
fn a_busy_node_is_passed_over_and_a_refusal_is_final() {
    let busy = server(503, br#"{"error":"busy","hint":"later"}"#);
    let good = server(200, &status(Level::Admitted));
    let id = ID;
    assert!(client(vec![busy, good.clone()]).tx(&id).is_ok());
    let refusing = server(404, br#"{"error":"unknown","hint":"look elsewhere"}"#);
    let error = client(vec![refusing, good]).tx(&id).unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.hint(), "look elsewhere");
}

#[test]
fn an_answer_that_is_no_answer_says_what_was_expected() {
    let error = client(vec![server(200, b"<html>")]).status().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("something else than the node's status"), "{text}");
    let error = client(vec![server(500, b"oops")]).status().unwrap_err();
    assert!(error.to_string().contains("HTTP 500"), "{error}");
}

#[test]
fn content_that_is_too_long_or_does_not_match_is_taken_from_the_next_node() {
    let content = b"twelve bytes".to_vec();
    let id = BlobId::whole_copies(&content, 4);
    let (wrong, long) = (server(200, b"twelve bytez"), server(200, &[0; 1_000]));
    let good = server(200, &content);
    let found = client(vec![long.clone(), wrong.clone(), good]).blob(&id).unwrap();
    assert_eq!(found, content);
    let error = client(vec![wrong]).blob(&id).unwrap_err().to_string();
    assert!(error.contains("do not match its identity"), "{error}");
    let error = client(vec![long]).blob(&id).unwrap_err().to_string();
    assert!(error.contains("more than 12 bytes"), "{error}");
}

#[test]
fn a_node_of_another_chain_than_the_genesis_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("genesis.json");
    std::fs::write(&path, serde_json::to_vec(&genesis("one")).unwrap()).unwrap();
    let other = genesis("other").digest();
    let status = serde_json::json!({
        "chain": "other", "genesis": other, "version": "0", "node": "00".repeat(32), "seat": 0,
        "epoch": 0, "view": 0, "leader": 0, "committed": 0, "height": 0, "time": 0,
        "state_root": "00".repeat(32), "first_block": 1, "checkpoint": null, "peers": [], "pool_txs": 0,
        "pool_bytes": 0, "relayed_bytes": 0, "commit_ms_p50": null, "commit_ms_p99": null,
        "halted": null
    });
    let nodes = vec![server(200, status.to_string().as_bytes())];
    let options = ClientOptions { nodes, genesis: Some(path), ..ClientOptions::default() };
    let error = Client::new(options).unwrap().chain().unwrap_err();
    assert!(matches!(error, ClientError::WrongChain { found, .. } if found == other));
    assert_eq!(error.exit_code(), crate::error::exit::NOT_PROVED);
}

pub fn genesis(chain: &str) -> Genesis {
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]).public_key();
    let validator = |seat: u8| GenesisValidator {
        name: format!("v{seat}"),
        organisation: format!("o{seat}"),
        key: key(seat + 1),
        audit_key: key(seat + 101),
        peer: format!("peer{seat}"),
        address: "/ip4/127.0.0.1/tcp/1".into(),
        payload_address: "/ip4/127.0.0.1/tcp/2".into(),
        stake: Stake(1_000),
    };
    let admin = Member {
        key: key(50),
        name: "admin".into(),
        organisation: "o0".into(),
        roles: [Role::Admin].into(),
        peer: None,
    };
    Genesis {
        format: FORMAT_VERSION,
        chain: chain.into(),
        time: TimeMs(1),
        params: ChainParams { threshold: 1, trainer_quota: 10, stake: StakeParams::default() },
        validators: (0..4).map(validator).collect(),
        members: vec![admin],
        balances: vec![],
        unsafe_size: false,
    }
}

#[test]
fn settings_that_cannot_work_are_refused_at_once() {
    let new = |node: &str| {
        let nodes = vec![node.to_string()];
        Client::new(ClientOptions { nodes, ..ClientOptions::default() }).map(|_| ())
    };
    let error = new("127.0.0.1:7780").unwrap_err();
    assert!(error.to_string().contains("expected a URL"), "{error}");
    assert_eq!(error.exit_code(), crate::error::exit::USAGE);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, "no certificate").unwrap();
    let nodes = vec!["https://127.0.0.1:1".to_string()];
    let options = ClientOptions { nodes, ca: Some(ca), ..ClientOptions::default() };
    assert!(Client::new(options).map(|_| ()).unwrap_err().to_string().contains("no certificate"));
}

#[test]
fn path_segments_are_encoded() {
    assert_eq!(segment("a b/ü?"), "a%20b%2F%C3%BC%3F");
}
