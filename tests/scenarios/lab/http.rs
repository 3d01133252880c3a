//! Raw HTTP: what a client other than ours might send.

use std::time::Duration;
use twinfold_cli::client::now;
use twinfold_types::{
    Digest, SecretKey,
    signed_read::{self, HEADER_INPUT, HEADER_SIGNATURE, Target},
};

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub body: Vec<u8>,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into()
}

fn answer(response: ureq::http::Response<ureq::Body>) -> Answer {
    let (head, mut body) = response.into_parts();
    let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_string();
    let body = body.with_config().limit(64 << 20).read_to_vec().expect("the whole body");
    Answer { status: head.status.as_u16(), kind, body }
}

pub fn get(url: &str) -> Answer {
    answer(agent().get(url).call().unwrap_or_else(|error| panic!("GET {url}: {error}")))
}

/// A GET whose headers say that a member reads: signed for a chain, so many seconds ago.
pub fn get_signed(url: &str, key: &SecretKey, chain: &Digest, seconds_ago: u64) -> Answer {
    let (_, target) =
        url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
    let (target, created) = (format!("/{target}"), now().0 / 1_000 - seconds_ago);
    let (input, signature) = signed_read::sign(key, chain, Target::get(&target), created);
    let request = agent().get(url).header(HEADER_INPUT, input).header(HEADER_SIGNATURE, signature);
    answer(request.call().unwrap_or_else(|error| panic!("GET {url}: {error}")))
}

pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = agent().post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.send(body).unwrap_or_else(|error| panic!("POST {url}: {error}")))
}

pub const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A refusal as JSON that names the cause and says what to do.
    #[track_caller]
    pub fn refused(&self, status: u16, words: &[&str]) {
        assert_eq!(self.status, status, "{}", self.text());
        let said = self.json();
        let error = said["error"].as_str().expect("an error").to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is not named: {said}");
        }
        assert!(said["hint"].is_string(), "no hint: {said}");
    }
}
