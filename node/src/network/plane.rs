//! One libp2p swarm: listens, dials the members it should dial, and lets nobody
//! else in. Streams are opened and taken through its [`libp2p_stream::Control`].

use super::{NetworkError, Peers};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, allow_block_list, connection_limits, identity, noise,
    ping,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use twinfold_types::{SecretKey, limits};

/// While a peer is not connected that this node dials, and while none is.
const DIAL_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Both sides may dial at once; more than a few connections of one peer are a fault.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;
const PENDING_MAX: u32 = 64;

#[derive(NetworkBehaviour)]
struct Behaviour {
    allowed: allow_block_list::Behaviour<allow_block_list::AllowedPeers>,
    limits: connection_limits::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

pub struct PlaneConfig {
    pub name: &'static str,
    pub listen: Multiaddr,
    pub peers: Peers,
    /// Whether genesis tells others this node's address.
    pub is_dialled: bool,
    /// Picks this plane's address of a peer.
    pub address: fn(&(Multiaddr, Multiaddr)) -> Multiaddr,
}

/// A running plane. Dropping it ends its task.
pub struct Plane {
    pub control: libp2p_stream::Control,
    pub connected: watch::Receiver<BTreeSet<PeerId>>,
    changes: mpsc::UnboundedSender<Change>,
}

enum Change {
    Allow(PeerId),
    Disallow(PeerId),
}

/// The libp2p identity of a key.
pub fn keypair(key: &SecretKey) -> Result<identity::Keypair, NetworkError> {
    identity::Keypair::ed25519_from_bytes(*key.seed())
        .map_err(|error| NetworkError::Transport(error.to_string()))
}

impl Plane {
    pub async fn start(config: PlaneConfig, key: &SecretKey) -> Result<Self, NetworkError> {
        let mut swarm = build(keypair(key)?)?;
        for peer in config.peers.all() {
            swarm.behaviour_mut().allowed.allow_peer(peer.id);
        }
        listen(&mut swarm, config.listen.clone()).await?;
        let control = swarm.behaviour().streams.new_control();
        let (connected_sender, connected) = watch::channel(BTreeSet::new());
        let (changes, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(swarm, config, connected_sender, receiver));
        Ok(Self { control, connected, changes })
    }

    pub fn allow(&self, peer: PeerId) {
        self.changes.send(Change::Allow(peer)).ok();
    }

    pub fn disallow(&self, peer: PeerId) {
        self.changes.send(Change::Disallow(peer)).ok();
    }
}

fn build(keypair: identity::Keypair) -> Result<Swarm<Behaviour>, NetworkError> {
    let transport = |error: &dyn std::fmt::Display| NetworkError::Transport(error.to_string());
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
        .with_max_established(Some(limits::SEATS_MAX as u32 * CONNECTIONS_PER_PEER_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| transport(&error))?
        .with_dns()
        .map_err(|error| transport(&error))?
        .with_behaviour(|_| Behaviour {
            allowed: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(limits),
            ping: ping::Behaviour::default(),
            streams: libp2p_stream::Behaviour::new(),
        })
        .map_err(|error| transport(&error))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

async fn listen(swarm: &mut Swarm<Behaviour>, address: Multiaddr) -> Result<(), NetworkError> {
    let failed = |reason: String| NetworkError::Listen { address: address.to_string(), reason };
    swarm.listen_on(address.clone()).map_err(|error| failed(error.to_string()))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { .. } => return Ok(()),
            SwarmEvent::ListenerError { error, .. } => return Err(failed(error.to_string())),
            SwarmEvent::ListenerClosed { reason, .. } => {
                return Err(failed(format!("closed: {reason:?}")));
            }
            _ => {}
        }
    }
}

async fn run(
    mut swarm: Swarm<Behaviour>,
    config: PlaneConfig,
    connected: watch::Sender<BTreeSet<PeerId>>,
    mut changes: mpsc::UnboundedReceiver<Change>,
) {
    let mut dial_at = Instant::now();
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                if matches!(event, SwarmEvent::ConnectionClosed { .. }) {
                    dial_at = dial_at.min(Instant::now() + DIAL_INTERVAL);
                }
                note(&mut swarm, config.name, event, &connected);
            }
            () = tokio::time::sleep_until(dial_at) => {
                let missing = dial_missing(&mut swarm, &config);
                dial_at = Instant::now() + if missing { DIAL_INTERVAL } else { LOOK_INTERVAL };
            }
            change = changes.recv() => match change {
                Some(Change::Allow(peer)) => {
                    swarm.behaviour_mut().allowed.allow_peer(peer);
                    dial_at = Instant::now();
                }
                Some(Change::Disallow(peer)) => {
                    swarm.behaviour_mut().allowed.disallow_peer(peer);
                }
                None => return,
            }
        }
    }
}

/// Of two nodes that know each other's address the smaller peer id dials. Whom the operator
/// configured is dialled in any case: it may know nothing of this node's address. Tells whether
/// somebody is dialled.
fn dial_missing(swarm: &mut Swarm<Behaviour>, config: &PlaneConfig) -> bool {
    let (own, mut missing) = (*swarm.local_peer_id(), false);
    for peer in config.peers.all() {
        let Some(addresses) = &peer.addresses else { continue };
        let theirs_to_dial =
            config.is_dialled && peer.id < own && !config.peers.is_configured(&peer.id);
        if theirs_to_dial || swarm.is_connected(&peer.id) {
            continue;
        }
        missing = true;
        let options =
            DialOpts::peer_id(peer.id).addresses(vec![(config.address)(addresses)]).build();
        if let Err(error) = swarm.dial(options) {
            tracing::debug!(plane = config.name, peer = %peer.name, %error, "cannot dial");
        }
    }
    missing
}

fn note(
    swarm: &mut Swarm<Behaviour>,
    plane: &'static str,
    event: SwarmEvent<BehaviourEvent>,
    connected: &watch::Sender<BTreeSet<PeerId>>,
) {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => {
            connected.send_modify(|set| {
                set.insert(peer_id);
            });
        }
        SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
            connected.send_modify(|set| {
                set.remove(&peer_id);
            });
            tracing::debug!(plane, peer = %peer_id, "disconnected");
        }
        SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
            tracing::debug!(plane, from = %send_back_addr, %error, "refused a connection");
        }
        SwarmEvent::ListenerClosed { .. } | SwarmEvent::ListenerError { .. } => {
            tracing::error!(
                plane,
                "a listener failed; listening on {:?}",
                swarm.listeners().count()
            );
        }
        _ => {}
    }
}
