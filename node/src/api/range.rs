//! One part of a large body (RFC 9110 §14): a broken download goes on where it stopped.

use super::Refusal;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use std::ops::Range;

/// The part asked for; `None` for all of it, also where the header is of a form that we need not
/// understand.
pub fn requested(headers: &HeaderMap, length: u64) -> Result<Option<Range<u64>>, Refusal> {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = text
        .and_then(|text| text.strip_prefix("bytes="))
        .filter(|text| !text.contains(','))
        .and_then(|text| text.split_once('-'))
    else {
        return Ok(None);
    };
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(last)) if first.is_empty() => length.saturating_sub(last)..length,
        _ => return Ok(None),
    };
    match part.is_empty() {
        false => Ok(Some(part)),
        true => Err(Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("there are no bytes {first}-{last}: the payload has {length}"),
            "ask for a part within it",
        )),
    }
}

/// Says that a body can be had in parts, and which one this is.
pub fn answer(mut response: Response, part: Option<Range<u64>>, length: u64) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(part) = part {
        let text = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str, length: u64) -> Result<Option<Range<u64>>, StatusCode> {
        let headers = [(header::RANGE, HeaderValue::from_str(text).unwrap())];
        requested(&headers.into_iter().collect(), length).map_err(|refusal| refusal.status)
    }

    #[test]
    fn parts_are_taken_as_the_standard_says() {
        assert_eq!(part("bytes=0-9", 100), Ok(Some(0..10)));
        assert_eq!(part("bytes=90-500", 100), Ok(Some(90..100)));
        assert_eq!(part("bytes=90-", 100), Ok(Some(90..100)));
        assert_eq!(part("bytes=-10", 100), Ok(Some(90..100)));
        assert_eq!(part("bytes=-500", 100), Ok(Some(0..100)));
        assert_eq!(part("bytes=0-18446744073709551615", 100), Ok(Some(0..100)));
    }

    #[test]
    fn what_is_no_single_part_is_answered_whole_and_what_is_beyond_refused() {
        for text in ["bytes=9-0", "bytes=", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b"] {
            assert_eq!(part(text, 100), Ok(None), "{text}");
        }
        for text in ["bytes=100-", "bytes=-0", "bytes=100-200"] {
            assert_eq!(part(text, 100), Err(StatusCode::RANGE_NOT_SATISFIABLE), "{text}");
        }
    }
}
