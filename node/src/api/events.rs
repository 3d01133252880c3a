//! Server-sent events. Each watcher is a task that reads height after height from the
//! ledger and waits for its reader: at most one block of events is in memory for it.

use super::{
    Api, Refusal,
    cursor::{Cursor, notices},
    extract::Query,
};
use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use serde::Deserialize;
use std::{convert::Infallible, sync::Arc, sync::atomic::Ordering, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use twinfold_types::{
    Height,
    api::{ErrorView, EventView, Notice},
    limits,
};
use utoipa::IntoParams;

const LAST_EVENT_ID: &str = "last-event-id";
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A watcher that takes nothing for so long is cut off; it resumes with its cursor.
const READER_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Cursor after which to start, as `id` or `cursor` gave it; `now` for new events
    /// only. Everything that this node keeps when not given. A `Last-Event-ID` header counts
    /// instead of it.
    after: Option<String>,
}

/// Blocks, receipts and events as they are executed (`event:` is block, receipt or
/// event; `id:` is the cursor).
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(
        EventsQuery,
        ("last-event-id" = Option<String>, Header, description = "Cursor after which to resume"),
    ),
    responses(
        (status = OK, description = "A stream without end; the data of each event is an EventView",
            content_type = "text/event-stream", body = EventView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn events(
    State(api): State<Arc<Api>>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let resumed = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("not text"));
    let newest = *api.node.heads.borrow();
    let start = start(resumed.or(query.after.as_deref()), newest, api.node.reader.first_block())?;
    let permit = api.watchers.clone().try_acquire_owned().map_err(|_| {
        let error = format!("{} watchers follow this node", limits::WATCHERS_MAX);
        Refusal::busy(error, "watch another node, or poll GET /v1/blocks")
    })?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(watch(api, start, sender, permit));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response())
}

fn start(after: Option<&str>, newest: Height, first: Height) -> Result<Cursor, Refusal> {
    let before_first = first.prev().map_or(Cursor::START, Cursor::end_of);
    match after {
        None => Ok(before_first),
        Some("now") => Ok(Cursor::end_of(newest)),
        Some(text) => match super::extract::parse("cursor", text)? {
            // Events after it are gone: going on behind them would hide that.
            cursor if first.0 > 1 && cursor < before_first => {
                Err(Refusal::gone(format!("what follows cursor {cursor}"), first))
            }
            cursor => Ok(cursor),
        },
    }
}

type Sender = mpsc::Sender<Result<Event, Infallible>>;

async fn watch(api: Arc<Api>, start: Cursor, sender: Sender, permit: OwnedSemaphorePermit) {
    let _held = permit;
    let watchers = &api.node.metrics.watchers;
    watchers.fetch_add(1, Ordering::Relaxed);
    tokio::select! {
        ended = follow(&api, start, &sender) => {
            if let Err(refusal) = ended {
                tracing::debug!(error = refusal.error, "a watcher's stream ends");
            }
        }
        () = sender.closed() => {}
        () = api.shutdown.cancelled() => {}
    }
    watchers.fetch_sub(1, Ordering::Relaxed);
}

/// Sends everything after a cursor, for ever. Ends when the reader is too slow.
async fn follow(api: &Arc<Api>, start: Cursor, sender: &Sender) -> Result<(), Refusal> {
    let mut heads = api.node.heads.clone();
    let mut height = start.height;
    loop {
        // Nothing is at height 0; a cursor beyond this node's head waits for it.
        if heads.wait_for(|head| *head >= height).await.is_err() {
            return Ok(());
        }
        let found = api.read(move |api| Ok(notices(&api.node.reader, height)?)).await?;
        for (_, view) in found.into_iter().filter(|(cursor, _)| *cursor > start) {
            if sender.send_timeout(Ok(sse(&view)?), READER_WAIT).await.is_err() {
                return Ok(());
            }
        }
        let Some(next) = height.0.checked_add(1) else { return Ok(()) };
        height = Height(next);
    }
}

fn sse(view: &EventView) -> Result<Event, Refusal> {
    let name = match view.event {
        Notice::Block(_) => "block",
        Notice::Receipt(_) => "receipt",
        Notice::Event(_) => "event",
    };
    Event::default().id(&view.cursor).event(name).json_data(view).map_err(Refusal::fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_starts_at_the_first_height_at_a_cursor_or_now() {
        let (newest, first) = (Height(9), Height(1));
        assert_eq!(start(None, newest, first), Ok(Cursor::end_of(Height(0))));
        assert_eq!(start(Some("4-1-2"), newest, first), Ok("4-1-2".parse().unwrap()));
        assert_eq!(start(Some("now"), newest, first), Ok(Cursor::end_of(newest)));
        let refusal = start(Some("yesterday"), newest, first).unwrap_err();
        assert!(refusal.error.contains("yesterday") && refusal.error.contains("HEIGHT-RECEIPT"));
    }

    #[test]
    fn a_cursor_whose_next_events_are_dropped_is_refused() {
        let start = |after| start(after, Height(9), Height(5));
        assert_eq!(start(None), Ok(Cursor::end_of(Height(4))));
        let refusal = start(Some("3-1-0")).unwrap_err();
        assert!(refusal.error.contains("height 5"), "{}", refusal.error);
        let last = Cursor::end_of(Height(4)).to_string();
        assert_eq!(start(Some(&last)), Ok(Cursor::end_of(Height(4))));
        assert_eq!(start(Some("5-0-0")), Ok("5-0-0".parse().unwrap()));
    }
}
