//! What this process counts, for operators and for `/metrics` (OpenMetrics). Counters
//! live here and may be bumped from anywhere; figures that the node knows anyway are
//! read when somebody asks.

use crate::{clock, node::Node};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};
use twinfold_types::{Height, PublicKey, TimeMs};

/// Seconds: from a read of the ledger to the longest wait.
const HTTP_BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QuantileLabel {
    quantile: &'static str,
}

type Quantiles = Family<QuantileLabel, Gauge<f64, AtomicU64>>;
type RouteSeconds = Family<RouteLabel, Histogram, fn() -> Histogram>;

pub struct Metrics {
    pub started: TimeMs,
    /// Fold results of other seats that differ from what this node computed.
    pub fold_alarms: Counter,
    /// Rounds and merges that this node folded.
    pub folds: Counter,
    /// Stored bytes that the scrubber has read; what it found damaged or missing, and had anew.
    pub scrubbed_bytes: Counter,
    pub scrub_found: Counter,
    pub scrub_restored: Counter,
    /// Payloads that nothing kept and that are gone.
    pub payloads_collected: Counter,
    /// Payload bytes taken from clients.
    pub upload_bytes: Counter,
    /// Requests refused because of a limit, before they were looked at.
    pub http_shed: Counter,
    /// Watchers of the event stream now.
    pub watchers: AtomicI64,
    requests: Family<RequestLabels, Counter>,
    request_seconds: RouteSeconds,
    /// Newest committed height that each peer told of.
    heard: Mutex<BTreeMap<PublicKey, Height>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: clock::now(),
            fold_alarms: Counter::default(),
            folds: Counter::default(),
            scrubbed_bytes: Counter::default(),
            scrub_found: Counter::default(),
            scrub_restored: Counter::default(),
            payloads_collected: Counter::default(),
            upload_bytes: Counter::default(),
            http_shed: Counter::default(),
            watchers: AtomicI64::new(0),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(HTTP_BUCKETS)),
            heard: Mutex::default(),
        }
    }
}

impl Metrics {
    /// A peer told its newest committed height. Peers are members: the map is bounded.
    pub fn heard_committed(&self, peer: PublicKey, height: Height) {
        self.heard.lock().insert(peer, height);
    }

    pub fn committed_of(&self, peer: &PublicKey) -> Option<Height> {
        self.heard.lock().get(peer).copied()
    }

    /// A request was answered. `route` is a template, never a path as it came.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels { method, route: route.into(), status };
        self.requests.get_or_create(&labels).inc();
        let route = RouteLabel { route: route.into() };
        self.request_seconds.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// Everything as OpenMetrics text.
    pub fn render(&self, figures: &Figures) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("twinfold");
        self.register(&mut registry);
        figures.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn register(&self, registry: &mut Registry) {
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        started.set(self.started.0 as f64 / 1e3);
        registry.register_with_unit("start_time", "Start of the process", Unit::Seconds, started);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", build);
        let fold_alarms = "Fold results of other seats that differ from this node's";
        registry.register("fold_alarms", fold_alarms, self.fold_alarms.clone());
        registry.register("folds", "Rounds and merges folded here", self.folds.clone());
        let scrubbed = "Stored bytes that were read to see whether they are what was written";
        registry.register("scrubbed_bytes", scrubbed, self.scrubbed_bytes.clone());
        let found = "Stored things that were damaged or missing";
        registry.register("scrub_found", found, self.scrub_found.clone());
        let restored = "Of these, had anew from others";
        registry.register("scrub_restored", restored, self.scrub_restored.clone());
        let collected = "Payloads that nothing kept any more and that were removed";
        registry.register("payloads_collected", collected, self.payloads_collected.clone());
        let uploads = "Payload bytes taken from clients";
        registry.register("http_upload_bytes", uploads, self.upload_bytes.clone());
        let shed = "Requests refused because of a limit before they were looked at";
        registry.register("http_shed", shed, self.http_shed.clone());
        let watchers = self.watchers.load(Ordering::Relaxed);
        gauge(registry, "http_watchers", "Watchers of the event stream", watchers);
        let requests = "Requests by route and status";
        registry.register("http_requests", requests, self.requests.clone());
        let seconds = "Time to the start of the answer";
        let family = self.request_seconds.clone();
        registry.register_with_unit("http_request_duration", seconds, Unit::Seconds, family);
    }
}

/// What the node knows at one instant.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub view: u64,
    pub committed: u64,
    pub executed: u64,
    pub stable: u64,
    pub pool_txs: u64,
    pub pool_bytes: u64,
    pub peers: u64,
    pub peers_connected: u64,
    pub relayed_bytes: u64,
    pub commit_ms: Option<(f64, f64)>,
    pub halted: bool,
}

impl Figures {
    pub fn of(node: &Node) -> Self {
        let agreement = *node.agreement.borrow();
        let (pool_txs, pool_bytes) = node.pool.size();
        Self {
            view: agreement.view.0,
            committed: agreement.committed.0,
            executed: node.heads.borrow().0,
            stable: node.stable.borrow().0,
            pool_txs: pool_txs as u64,
            pool_bytes: pool_bytes as u64,
            peers: node.peers.all().len() as u64,
            peers_connected: node.links.connected().len() as u64,
            relayed_bytes: relayed_bytes(node),
            commit_ms: node.pool.latency_ms(),
            halted: node.halted.lock().is_some(),
        }
    }

    fn register(&self, registry: &mut Registry) {
        let gauges = [
            ("view", "View of agreement", self.view),
            ("height_committed", "Newest committed height", self.committed),
            ("height_executed", "Newest executed height", self.executed),
            ("height_stable", "Height of the newest stable checkpoint", self.stable),
            ("pool_txs", "Transactions that wait for a block", self.pool_txs),
            ("pool_bytes", "Their bytes", self.pool_bytes),
            ("peers", "Nodes of other members", self.peers),
            ("peers_connected", "Connected nodes of other members", self.peers_connected),
            ("halted", "1 when the node takes part no longer", u64::from(self.halted)),
        ];
        for (name, help, value) in gauges {
            gauge(registry, name, help, i64::try_from(value).unwrap_or(i64::MAX));
        }
        let relayed: Counter = Counter::default();
        relayed.inc_by(self.relayed_bytes);
        registry.register("relayed_bytes", "Bytes sent to other nodes", relayed);
        if let Some((median, p99)) = self.commit_ms {
            let quantiles = Quantiles::default();
            for (quantile, ms) in [("0.5", median), ("0.99", p99)] {
                quantiles.get_or_create(&QuantileLabel { quantile }).set(ms / 1e3);
            }
            let help = "Time from admission here to commit, over the newest transactions";
            registry.register_with_unit("commit_latency", help, Unit::Seconds, quantiles);
        }
    }
}

/// Bytes sent to other nodes since the start, on both planes.
pub fn relayed_bytes(node: &Node) -> u64 {
    node.links.sent_bytes.load(Ordering::Relaxed).saturating_add(node.exchange.sent_bytes())
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_holds_counters_gauges_and_quantiles_and_ends_as_open_metrics_does() {
        let metrics = Metrics::default();
        metrics.fold_alarms.inc();
        metrics.answered("GET", "/v1/status", 200, Duration::from_millis(2));
        let figures = Figures { executed: 17, commit_ms: Some((40.0, 90.0)), ..Figures::default() };
        let text = metrics.render(&figures).unwrap();
        for line in [
            "twinfold_fold_alarms_total 1",
            "twinfold_height_executed 17",
            "twinfold_commit_latency_seconds{quantile=\"0.99\"} 0.09",
            "twinfold_http_requests_total{method=\"GET\",route=\"/v1/status\",status=\"200\"} 1",
            "twinfold_http_request_duration_seconds_count{route=\"/v1/status\"} 1",
            "twinfold_halted 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_newest_height_of_a_peer_is_kept() {
        let (metrics, peer) = (Metrics::default(), PublicKey([1; 32]));
        metrics.heard_committed(peer, Height(3));
        metrics.heard_committed(peer, Height(5));
        assert_eq!(metrics.committed_of(&peer), Some(Height(5)));
    }
}
