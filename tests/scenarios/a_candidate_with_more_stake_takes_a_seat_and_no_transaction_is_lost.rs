//! Four validators, short epochs, and transactions all the time. A fifth node is admitted, gets
//! stake behind it, declares itself ready and is elected in place of the validator with the
//! least; it makes the seat's fragment of what was stored before, and says so; later the admins expel one. Every transaction sent meanwhile is carried out, and what
//! is ordered under the new committee is proved from the genesis file alone.

use crate::lab::{Lab, PATIENCE, code, members, observer::Observer, reaches, until};
use serde_json::Value;
use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use twinfold_cli::client::{Client, ClientOptions, Cut};
use twinfold_node::blobs::fragment::header;
use twinfold_types::{
    Action, BlobId, Code, Digest, Epoch, Event, Stake, TxId,
    api::{EpochView, Level, ValidatorView},
    limits,
    sealed::{RegisterSealed, SealedAction},
};

const NEWCOMER: &str = "site-5";
const EPOCH_MS: u64 = 6_000;

#[test]
fn a_candidate_with_more_stake_takes_a_seat_and_no_transaction_is_lost() {
    let mut lab = Lab::form(1);
    lab.short_epochs(EPOCH_MS);
    lab.change_genesis(&[0, 1, 2, 3], |genesis| genesis.validators[3].stake = Stake(500_000));
    lab.start_all();
    let load = Load::start(&lab);
    let payload = is_stored(&lab);
    let newcomer = admit(&lab);
    let epoch = is_elected(&lab, &newcomer);
    makes_its_fragments(&lab, &newcomer, &payload);
    votes_without(&mut lab, &newcomer);
    is_proved_from_genesis(&lab, epoch);
    uploads_are_for_the_new_committee(&lab);
    an_expelled_validator_leaves(&lab);
    let sent = load.stop();
    assert!(sent > 20, "only {sent} transactions were sent");
    lab.same_root();
}

/// The admins register the node and make stake; ann delegates, and so does its operator.
fn admit(lab: &Lab) -> Observer {
    let newcomer = lab.make_node(NEWCOMER, "clinic-5");
    let (key, peer) = (newcomer.entry.key, newcomer.entry.peer.clone());
    let declare = "declare --config {} --ready --commission 25";
    let config = newcomer.dir.join("config.toml");
    let as_ann = |line: &str| lab.twinfold(&format!("--key ann {line}"), &[&NEWCOMER]).ok();
    lab.twinfold(
        "--key ann proposal new add-member --name {} --organisation clinic-5 --role validator \
         --member-key {} --peer {}",
        &[&NEWCOMER, &key, &peer],
    )
    .ok();
    as_ann("proposal new grant-stake --member ann --amount 2_000_000");
    as_ann("proposal new grant-stake --member {} --amount 300_000");
    as_ann("stake delegate --validator {} --amount 1_500_000");
    // The operator signs with the node's own member key, which lies in the node's folder.
    lab.twinfold(
        "--dir {} --key consensus stake delegate --validator {} --amount 200_000",
        &[&newcomer.dir.display(), &NEWCOMER],
    )
    .ok();

    let client = lab.start_observer(&newcomer);
    let height = until("a validator answers", || lab.client().status().ok()).height;
    reaches(&client, height);
    let before = validator(&lab.client(), NEWCOMER);
    assert_eq!((before.seat, before.ready, before.stake), (None, false, Stake(1_700_000)));
    assert_eq!((before.own_stake, before.rank), (Stake(200_000), Some(1)));
    let said = lab.node_program(declare, &[&config.display()]).ok();
    assert!(said.out.contains("ready"), "{said:#?}");
    newcomer
}

/// Returns the first epoch in which the newcomer sits.
fn is_elected(lab: &Lab, newcomer: &Observer) -> Epoch {
    let client = lab.client();
    until("the newcomer is elected", || {
        let found = client.validators().ok()?;
        found.into_iter().find(|one| one.name == NEWCOMER && one.seat.is_some())
    });
    let out = lab.twinfold("validators", &[]).ok().out;
    assert!(out.contains(NEWCOMER) && out.contains("1_700_000") && out.contains("2.5 %"), "{out}");
    let left = validator(&client, "node-4");
    assert_eq!(left.seat, None, "who has the least stake has left");

    let epochs: Vec<EpochView> = parsed(&lab.twinfold("--json epochs", &[]).ok().json());
    let change = epochs.iter().find(|epoch| !epoch.joined.is_empty()).expect("a change is listed");
    assert_eq!(change.joined, [newcomer.entry.key]);
    assert_eq!(change.left, [left.validator]);
    assert_eq!(change.committee.size(), 4);
    let out = lab.twinfold("epoch {}", &[&change.committee.epoch]).ok().out;
    assert!(out.contains(NEWCOMER), "{out}");

    let out = lab.twinfold("stake show ann", &[]).ok().out;
    for part in ["500_000", NEWCOMER, "1_500_000"] {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
    lab.twinfold("--key ann stake undelegate --validator {} --amount 100_000", &[&NEWCOMER]).ok();
    let stake = lab.twinfold("--json stake show ann", &[]).ok().json();
    assert_eq!(stake["unbonding"][0]["worth"], 100_000, "{stake:#}");
    change.committee.epoch
}

/// A coded payload that the ledger names.
fn is_stored(lab: &Lab) -> BlobId {
    let file = lab.folder().join("stored");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    let payload = lab.client().put_file(&members::secret("ann"), &file, Cut::Fragments).unwrap();
    let blob = payload.blob;
    let register = RegisterSealed { payload, commitment: Digest::ZERO };
    lab.done("ann", Action::Sealed(SealedAction::Register(Box::new(register))));
    blob
}

fn makes_its_fragments(lab: &Lab, newcomer: &Observer, payload: &BlobId) {
    let path = newcomer.dir.join("data/blobs/named").join(payload.digest().to_string());
    let held = || header(&mut File::open(&path).ok()?).ok();
    let held = until("the newcomer makes its fragment", held);
    assert_eq!((held.blob, held.fragment), (*payload, 3), "the seat's, not the leaver's copy");
    until("the ledger knows", || {
        let events = lab.twinfold("events --after 0-0-0", &[]).ok();
        events.out.contains("seat 3 is complete").then_some(())
    });
}

/// Without the one that left and one that stays, the newcomer's vote is needed for a quorum.
fn votes_without(lab: &mut Lab, newcomer: &Observer) {
    assert!(lab.stop(3).success(), "who has left may stop");
    lab.kill(0);
    lab.done("ann", members::set_quota(60));
    lab.restart(0);
    lab.restart(3);
    assert!(lab.client_at(&newcomer.url).status().expect("it runs").seat.is_some());
}

fn is_proved_from_genesis(lab: &Lab, epoch: Epoch) {
    let tx = lab.done("ann", members::set_quota(61)).id;
    let file = lab.folder().join("proof");
    lab.twinfold("proof get {} -o {}", &[&tx, &file.display()]).ok();
    let genesis = lab.network.genesis().display();
    let offline = "--node http://127.0.0.1:9 --json proof verify {} --genesis {}";
    let report = lab.twinfold(offline, &[&file.display(), &genesis]).ok().json();
    assert!(report["epoch"].as_u64() >= Some(epoch.0), "{report:#}");
    assert_eq!(report["hand_overs"], report["epoch"], "one for each epoch that ended");
    assert_eq!(report["transactions"][0]["id"], tx.to_string());
}

fn uploads_are_for_the_new_committee(lab: &Lab) {
    let (client, payload) = (lab.client(), b"a payload after the change".to_vec());
    let certificate = client.upload(&members::secret("olaf"), &payload).expect("it is stored");
    assert!(certificate.epoch > Epoch(0));
    assert_eq!(certificate.blob, BlobId::whole_copies(&payload, 4));
}

/// It loses its seat within the heights that an early end takes, and not its stake.
fn an_expelled_validator_leaves(lab: &Lab) {
    let client = lab.client();
    let said = lab.twinfold("--key ann --json proposal new expel --validator node-2", &[]).ok();
    let id: TxId = said.json()["id"].as_str().expect("an identity").parse().expect("an identity");
    let status = client.tx(&id).expect("it is known");
    let receipt = status.receipt.expect("it is executed");
    let ending = receipt.events.iter().find_map(|event| match event {
        Event::EpochEnding { at } => Some(*at),
        _ => None,
    });
    // The epoch's time may be up before; then the election comes sooner still.
    let last = ending.expect("the epoch ends early");
    assert!(last.0 <= receipt.height.0 + limits::EPOCH_END_HEIGHTS, "{receipt:?}");
    until("the expelled one has no seat", || {
        validator(&client, "node-2").seat.is_none().then_some(())
    });
    let expelled = validator(&client, "node-2");
    assert_eq!(expelled.stake, Stake(1_000_000));
    let epochs = client.epochs(Epoch(0), limits::PAGE_ROWS_MAX).expect("epochs");
    let change = epochs.iter().find(|epoch| epoch.left.contains(&expelled.validator));
    let change = change.expect("an epoch that it left");
    assert!(change.committee.anchor <= last, "it left at {:?}", change.committee.anchor);
    let out = lab.twinfold("validators", &[]).ok().out;
    assert!(out.contains("expelled"), "{out}");
    until("it follows without a seat", || lab.status(1).seat.is_none().then_some(()));
}

fn validator(client: &Client, name: &str) -> ValidatorView {
    let all = client.validators().expect("validators");
    all.into_iter().find(|one| one.name == name).expect("it is listed")
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("it has the documented form")
}

/// Somebody who sends transactions until told to stop; none may be refused or lost.
struct Load {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u32>,
}

impl Load {
    fn start(lab: &Lab) -> Self {
        let options = ClientOptions {
            nodes: lab.network.urls(),
            ca: None,
            accepted: Default::default(),
            genesis: Some(lab.network.genesis().to_path_buf()),
            patience: PATIENCE,
        };
        let client = Client::new(options).expect("a client");
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let sender = std::thread::spawn(move || {
            let mut sent = 0;
            while !told.load(Ordering::Relaxed) {
                let (key, action) = (members::secret("ben"), members::set_quota(100 + sent));
                let status = client.submit(&key, action, Level::Executed, PATIENCE);
                assert_eq!(code(&status.expect("it is executed")), Code::Ok);
                sent += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            sent
        });
        Self { stop, sender }
    }

    fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().expect("every transaction was carried out")
    }
}
