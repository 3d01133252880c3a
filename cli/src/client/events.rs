//! The event stream: server-sent events, resumed after the last cursor when a
//! connection breaks, at the next node.

use super::{Client, ClientError, http::segment};
use std::{
    io::{BufRead, BufReader, Read},
    time::Duration,
};
use twinfold_types::api::EventView;

/// One line of the stream; a receipt over a thousand updates fits.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// Reconnections without one event between them before giving up.
const FAILURES_MAX: u32 = 10;

/// Events in order, without end.
pub struct Events<'a> {
    client: &'a Client,
    cursor: Option<String>,
    quiet: Duration,
    stream: Option<BufReader<ureq::BodyReader<'static>>>,
    failures: u32,
}

impl Client {
    /// Events after a cursor (all, without one; only new ones after `now`). A stream quiet
    /// for `quiet` is opened anew.
    pub fn events(&self, after: Option<String>, quiet: Duration) -> Events<'_> {
        Events { client: self, cursor: after, quiet, stream: None, failures: 0 }
    }
}

impl Events<'_> {
    /// The next event; `None` when nothing came for the quiet time.
    pub fn next_event(&mut self) -> Result<Option<EventView>, ClientError> {
        loop {
            if self.stream.is_none() {
                self.stream = Some(self.open()?);
            }
            let Some(stream) = &mut self.stream else { continue };
            match read_event(stream) {
                Ok(Some(event)) => {
                    self.failures = 0;
                    self.cursor = Some(event.cursor.clone());
                    return Ok(Some(event));
                }
                Ok(None) => self.reconnect_later("the node closed the stream")?,
                Err(error) if is_quiet(&error) => {
                    self.stream = None;
                    return Ok(None);
                }
                Err(error) => self.reconnect_later(&error.to_string())?,
            }
        }
    }

    fn open(&self) -> Result<BufReader<ureq::BodyReader<'static>>, ClientError> {
        let after = self.cursor.as_ref().map(|cursor| format!("?after={}", segment(cursor)));
        let path = format!("/v1/events{}", after.unwrap_or_default());
        Ok(BufReader::new(self.client.http.open_stream(&path, self.quiet)?))
    }

    fn reconnect_later(&mut self, reason: &str) -> Result<(), ClientError> {
        self.stream = None;
        self.failures += 1;
        if self.failures > FAILURES_MAX {
            return Err(ClientError::Unexpected {
                node: self.client.nodes().join(", "),
                request: "GET /v1/events".into(),
                expected: "an event stream".into(),
                reason: reason.into(),
            });
        }
        std::thread::sleep(Duration::from_millis(200 * u64::from(self.failures)));
        Ok(())
    }
}

fn is_quiet(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    matches!(inner, Some(ureq::Error::Timeout(_)))
        || matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// Reads up to the blank line that ends an event with data; comments and other
/// fields are skipped.
fn read_event(stream: &mut impl BufRead) -> std::io::Result<Option<EventView>> {
    let malformed = |reason: String| std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
    let mut data = String::new();
    loop {
        let mut line = String::new();
        let read = stream.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == LINE_BYTES_MAX {
            return Err(malformed(format!("a line of more than {LINE_BYTES_MAX} bytes")));
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(text) = line.strip_prefix("data:") {
            data.push_str(text.strip_prefix(' ').unwrap_or(text));
            if data.len() as u64 > LINE_BYTES_MAX {
                return Err(malformed(format!("an event of more than {LINE_BYTES_MAX} bytes")));
            }
        } else if line.is_empty() && !data.is_empty() {
            return serde_json::from_str(&data)
                .map(Some)
                .map_err(|error| malformed(format!("an event that is none: {error}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_other_fields_are_skipped_and_split_data_is_joined() {
        let text = ": hello\n\nid: 1-0-0\ndata: {\"cursor\":\"1-0-0\",\"height\":1,\"time\":5,\n\
                    data: \"tx\":null,\"event\":{\"block\":{\"height\":1,\"digest\":\"00\"\ndata: }}}\n\n";
        let error = read_event(&mut text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("hexadecimal"), "the data was joined and parsed: {error}");
    }

    #[test]
    fn a_stream_that_ends_inside_an_event_is_an_end() {
        assert!(read_event(&mut "data: {".as_bytes()).unwrap().is_none());
    }
}
