//! The HTTP API as other programs meet it: its document, its event stream, health and
//! metrics, the start page, and its limits.

use crate::lab::{
    Lab,
    http::{OCTETS, get, post},
    learn::options,
    members::{self, TRAINERS},
    stage::play,
    until,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A name that would be markup, were it not escaped.
const TASK: &str = "<b>digits</b>&co";

#[test]
fn the_api_is_documented_bounded_and_resumable() {
    let mut lab = Lab::start();
    let course = lab.course(&options(TASK, 1));
    for round in 0..3 {
        course.update(TRAINERS[0], 0, 0.1);
        course.ended(0, round);
    }
    play(
        &mut lab,
        &[
            ("the document served is the committed one", document),
            ("every page of the document answers", documented_paths),
            ("a stream resumed anywhere gives every event once", resumed_stream),
            ("health, readiness and metrics", health),
            ("the start page", start_page),
            ("what is wrong is told as JSON", wrong_requests),
            ("bodies and listings are bounded", bounds),
            ("a client that asks too fast is told when to come back", rate),
        ],
    );
}

fn url(lab: &Lab, path: &str) -> String {
    format!("{}{path}", lab.url(0))
}

fn document(lab: &mut Lab) {
    let served = get(&url(lab, "/openapi.json"));
    assert_eq!((served.status, served.kind.as_str()), (200, "application/json"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/openapi.json");
    let golden = fs::read_to_string(path).expect("the committed document");
    assert_eq!(served.text().trim(), golden.trim());
    let document = served.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
}

/// Reads without parameters give 200 and JSON; a checkpoint only once the first is stable.
fn documented_paths(lab: &mut Lab) {
    until("the first checkpoint is stable", || {
        (get(&url(lab, "/v1/checkpoint")).status == 200).then_some(())
    });
    let document = get(&url(lab, "/openapi.json")).json();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let is_plain = !path.contains('{') && path.starts_with("/v1/") && path != "/v1/events";
        if is_plain && methods.get("get").is_some() {
            let answer = get(&url(lab, path));
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(answer.kind.starts_with("application/json"), "{path}: {}", answer.kind);
            answer.json();
            asked += 1;
        }
    }
    assert!(asked >= 8, "only {asked} paths were asked");
}

/// Reads events from a raw stream: their cursors, until `count` came.
fn cursors(lab: &Lab, query: &str, last_event_id: Option<&str>, count: usize) -> Vec<String> {
    let address = lab.url(0).replace("http://", "");
    let mut stream = TcpStream::connect(&address).expect("the port is open");
    stream.set_read_timeout(Some(crate::lab::PATIENCE)).unwrap();
    let resume = last_event_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    write!(stream, "GET /v1/events{query} HTTP/1.1\r\nhost: {address}\r\n{resume}\r\n").unwrap();
    let mut found = vec![];
    for line in BufReader::new(stream).lines() {
        let line = line.expect("the stream goes on");
        if let Some(cursor) = line.strip_prefix("id:") {
            found.push(cursor.trim().to_string());
        }
        if found.len() == count {
            break;
        }
    }
    found
}

fn resumed_stream(lab: &mut Lab) {
    let newest = lab.status(0).height.0;
    let expected: usize = (1..=newest)
        .map(|height| {
            let block = lab.client().block(twinfold_types::Height(height)).unwrap();
            let receipts = block.txs.iter().filter_map(|tx| tx.receipt.as_ref());
            1 + receipts
                .chain(&block.receipt)
                .map(|receipt| 1 + receipt.events.len())
                .sum::<usize>()
        })
        .sum();
    let whole = cursors(lab, "", None, expected);
    assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), expected, "each event once");
    for at in [0, 1, expected / 2, expected - 2] {
        let after = &whole[at];
        let rest = cursors(lab, &format!("?after={after}"), None, expected - at - 1);
        assert_eq!(rest, whole[at + 1..], "resumed after {after}");
        let rest = cursors(lab, "", Some(after), expected - at - 1);
        assert_eq!(rest, whole[at + 1..], "resumed by header after {after}");
    }
    // From now on: what comes next, as it comes.
    let next = std::thread::scope(|scope| {
        let lab: &Lab = lab;
        let watcher = scope.spawn(|| cursors(lab, "?after=now", None, 1));
        until("the watcher saw the next block", || {
            lab.done("ann", members::set_quota(3));
            watcher.is_finished().then_some(())
        });
        watcher.join().expect("the watcher")
    });
    let height: u64 = next[0].split('-').next().unwrap().parse().unwrap();
    assert!(height > newest, "{next:?}");
    get(&url(lab, "/v1/events?after=yesterday")).refused(400, &["yesterday"]);
}

fn health(lab: &mut Lab) {
    assert_eq!(get(&url(lab, "/healthz")).status, 200);
    assert_eq!(get(&url(lab, "/readyz")).status, 200);
    let metrics = get(&url(lab, "/metrics"));
    assert!(metrics.kind.contains("openmetrics-text"), "{}", metrics.kind);
    let text = metrics.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut samples = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("twinfold_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        samples += 1;
    }
    assert!(samples > 10, "{text}");
    // With two of four gone a node hears no quorum, and says so.
    lab.kill(2);
    lab.kill(3);
    until("the node is not ready", || {
        let answer = get(&url(lab, "/readyz"));
        (answer.status == 503).then(|| answer.refused(503, &["2 of 4", "quorum is 3"]))
    });
    assert_eq!(get(&url(lab, "/healthz")).status, 200);
    lab.restart(2);
    lab.restart(3);
    until("the node is ready", || (get(&url(lab, "/readyz")).status == 200).then_some(()));
}

fn start_page(lab: &mut Lab) {
    let page = get(&url(lab, "/"));
    assert_eq!(page.status, 200);
    assert!(page.kind.starts_with("text/html"), "{}", page.kind);
    let text = page.text();
    for name in ["node-1", "node-2", "node-3", "node-4", "testnet"] {
        assert!(text.contains(name), "{name} is not on the start page");
    }
    let escaped =
        |text: &str| text.contains("digits&lt;/b&gt;") || text.contains("digits&#60;/b&#62;");
    assert!(escaped(&text), "the task is not on the start page: {text}");
    assert!(!text.contains(TASK), "the task's name is not escaped");
    assert!(text.contains("<svg") || text.contains(".svg"), "no picture of the accuracy");
    // Every link of the page leads somewhere, and names stay escaped there.
    let mut links: BTreeSet<&str> =
        text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    links.extend(text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()));
    let local: Vec<_> =
        links.into_iter().filter(|link| link.starts_with('/') && !link.starts_with("//")).collect();
    assert!(local.len() > 5, "{local:?}");
    for link in local.iter().filter(|link| !link.contains("/v1/events")) {
        let answer = get(&url(lab, &link.replace("&amp;", "&").replace("&#38;", "&")));
        assert_eq!(answer.status, 200, "{link}: {}", answer.text());
        if answer.kind.starts_with("text/html") {
            assert!(!answer.text().contains(TASK), "{link}: the task's name is not escaped");
        }
    }
}

fn wrong_requests(lab: &mut Lab) {
    get(&url(lab, "/v1/nothing")).refused(404, &["there is no GET /v1/nothing"]);
    get(&url(lab, "/v1/blocks/x")).refused(400, &["height", "\"x\""]);
    get(&url(lab, "/v1/blocks/0")).refused(404, &["block 0"]);
    get(&url(lab, "/v1/blocks/99999999")).refused(404, &["block 99999999"]);
    get(&url(lab, "/v1/blocks?limit=0")).refused(400, &["limit"]);
    get(&url(lab, "/v1/blocks?limit=201")).refused(400, &["1 to 200"]);
    get(&url(lab, "/v1/blocks?colour=red")).refused(400, &["colour"]);
    get(&url(lab, "/v1/txs/123")).refused(400, &["transaction"]);
    get(&url(lab, "/v1/tasks/none")).refused(404, &["none"]);
    get(&url(lab, "/v1/models?level=moon")).refused(400, &["moon"]);
    get(&url(lab, &format!("/v1/models/{}", "ab".repeat(32)))).refused(404, &["abab"]);
    get(&url(lab, &format!("/v1/proofs/tx/{}", "ab".repeat(32)))).refused(404, &[]);
    post(&url(lab, "/v1/status"), &[OCTETS], b"").refused(405, &["POST"]);
    post(&url(lab, "/v1/txs"), &[("content-type", "application/json")], b"{}")
        .refused(415, &["application/octet-stream"]);
    // A transaction nobody knows is no error: it may still come.
    let unknown = get(&url(lab, &format!("/v1/txs/{}", "cd".repeat(32))));
    assert_eq!(unknown.json()["level"], "unknown");
}

fn bounds(lab: &mut Lab) {
    post(&url(lab, "/v1/txs"), &[OCTETS], &vec![0; 2 << 20]).refused(413, &["1048576"]);
    // A length that lies beyond every limit is refused before a byte is sent.
    let address = lab.url(0).replace("http://", "");
    let mut stream = TcpStream::connect(&address).expect("the port is open");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "POST /v1/blobs HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/octet-stream\r\n\
         content-length: 99999999999\r\n\r\n"
    )
    .unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 413");
    let page = get(&url(lab, "/v1/blocks?limit=2")).json();
    assert_eq!(page.as_array().unwrap().len(), 2);
    let (mut after, mut names) = (String::new(), vec![]);
    loop {
        let page = get(&url(lab, &format!("/v1/members?limit=3{after}"))).json();
        let rows = page["rows"].as_array().unwrap();
        assert!(rows.len() <= 3);
        names.extend(rows.iter().map(|row| row["name"].as_str().unwrap().to_string()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    // Eight people and four validators, each once.
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 12, "{names:?}");
    assert_eq!(names.len(), 12);
}

/// On a node whose operator allows two requests a second.
fn rate(lab: &mut Lab) {
    let config = lab.folder_of(3).join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let slow = text.replace("requests_per_second = 1000", "requests_per_second = 2");
    assert_ne!(text, slow);
    assert!(lab.stop(3).success());
    fs::write(&config, slow).unwrap();
    lab.start_node(3);
    let status = format!("{}/v1/status", lab.url(3));
    until("the node listens", || TcpStream::connect(lab.url(3).replace("http://", "")).ok());
    let refused = (0..50).map(|_| get(&status)).find(|answer| answer.status != 200);
    refused.expect("fifty requests at once are too many").refused(429, &[]);
    lab.kill(3);
    fs::write(&config, text).unwrap();
    lab.restart(3);
}
