//! Three of four validators are gone with their folders. Nothing is ordered any more, until two
//! of the admins sign who goes on, and the operators of one survivor and of three candidates
//! accept it. What was ordered is still there; who has not accepted does not follow, and says so.

use crate::lab::{
    Lab, PATIENCE, cli::Said, code, files::copy_folder, members, observer::Observer, reaches, until,
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use twinfold_cli::client::{Client, ClientOptions};
use twinfold_types::{
    Action, Code, Digest, Height, TxId,
    api::Level,
    handover::EpochEnd,
    member::{AdminAction, Member, Role},
    recovery::Recovery,
};

const LOST: [usize; 3] = [1, 2, 3];
const SEATS: &str = "--seat node-1 --seat site-5 --seat site-6 --seat site-7";

#[test]
fn a_chain_that_lost_too_many_goes_on_by_its_admins_word() {
    let mut lab = Lab::form(2);
    lab.start_all();
    let auditor = Node::admitted(&lab, "observer", "inspectorate", Role::Auditor);
    let sites = [5, 6, 7].map(|number| {
        let name = format!("site-{number}");
        Node::admitted(&lab, &name, &format!("clinic-{number}"), Role::Validator)
    });
    sites.iter().for_each(|site| site.declares(&lab));
    let early = decide(&lab, members::set_quota(41));
    // The last one misses what comes now.
    sites[2].stop(&lab);
    let late = decide(&lab, members::set_quota(42));
    let status = lab.client_of(0).tx(&late).expect("it is known");
    let height = status.receipt.expect("it is executed").height;
    for node in sites[..2].iter().chain([&auditor]) {
        reaches(&node.client, height);
    }

    let copy = lab.folder().join("copy");
    for index in LOST {
        lab.kill(index);
        if index == LOST[0] {
            copy_folder(&lab.folder_of(index), &copy);
        }
        fs::remove_dir_all(lab.folder_of(index).join("data")).expect("its folder");
    }
    nothing_is_ordered(&lab);

    assert!(lab.stop(0).success());
    sites[..2].iter().for_each(|site| site.stop(&lab));
    let statement = proposed(&lab, &sites);
    let digest = signed(&lab, &statement);
    accepted_by_each(&lab, &sites, &statement);

    lab.start_node(0);
    let sites = sites.map(|site| site.started(&lab));
    let client = client(&lab, &sites[0], digest);
    it_goes_on(&lab, &client, &sites, height);
    for tx in [early, late] {
        let status = client.tx(&tx).expect("it is known");
        assert_eq!(code(&status), Code::Ok);
    }
    is_proved_across(&lab, &late, digest);
    who_has_not_accepted_stands_still(&lab, &auditor.client, digest);
    a_lost_one_that_is_back_cannot_go_on(&mut lab, &copy, digest);

    auditor.stop(&lab);
    accept(&lab, &auditor.at.dir, &statement, "--yes").ok();
    let auditor = auditor.started(&lab);
    same_state(&auditor.client, &client);
}

struct Node {
    at: Observer,
    client: Client,
}

impl Node {
    fn admitted(lab: &Lab, name: &str, organisation: &str, role: Role) -> Self {
        let at = lab.make_node(name, organisation);
        let (key, peer) = (at.entry.key, Some(at.entry.peer.clone()));
        let member = Member { key, peer, ..members::member(name, organisation, role) };
        decide(lab, Action::Propose(AdminAction::AddMember(member)));
        let client = lab.start_observer(&at);
        reaches(&client, lab.status(0).height);
        Self { at, client }
    }

    fn declares(&self, lab: &Lab) {
        let config = self.at.dir.join("config.toml");
        lab.node_program("declare --config {} --ready", &[&config.display()]).ok();
    }

    fn stop(&self, lab: &Lab) {
        lab.signal(&self.at.name, "-TERM");
        assert!(lab.ended(&self.at.name).success());
    }

    fn started(self, lab: &Lab) -> Self {
        let client = lab.start_observer(&self.at);
        Self { client, ..self }
    }
}

/// Two admins decide; the first one's transaction.
fn decide(lab: &Lab, action: Action) -> TxId {
    let proposed = lab.done("ann", action).id;
    lab.done("ben", Action::SignProposal(proposed));
    proposed
}

fn nothing_is_ordered(lab: &Lab) {
    let line =
        "--node {} --key ann --timeout 4s proposal new set-quota --organisation o --trainers 3";
    let said = lab.twinfold(line, &[&lab.url(0)]);
    assert_ne!(said.code, Some(0), "three of four are gone: {said:#?}");
}

/// Each survivor proposes what it has; the one that has most is taken.
fn proposed(lab: &Lab, sites: &[Node; 3]) -> PathBuf {
    let mut found: Vec<(Height, PathBuf)> = vec![];
    let folders =
        [lab.folder_of(0)].into_iter().chain(sites.iter().map(|site| site.at.dir.clone()));
    for dir in folders {
        let out = dir.join("statement.json");
        let line = format!("recover propose --config {{}} {SEATS} --out {{}}");
        let said = lab.node_program(&line, &[&dir.join("config.toml").display(), &out.display()]);
        assert!(said.ok().out.contains("sign the statement of the one with the greatest height"));
        let text = fs::read_to_string(&out).expect("the statement");
        let recovery: Recovery = serde_json::from_str(&text).expect("the statement");
        found.push((recovery.statement.kept.height, out));
    }
    found.sort();
    let (lowest, behind) = found.first().cloned().expect("a statement");
    let (highest, statement) = found.last().cloned().expect("a statement");
    assert!(lowest < highest, "one was stopped before");
    let dir = lab.folder_of(0);
    let three = "recover propose --config {} --seat node-1 --seat site-5 --seat site-6 --out {}";
    let config = dir.join("config.toml");
    let out = dir.join("three.json");
    lab.node_program(three, &[&config.display(), &out.display()])
        .refused(1, &["a committee of 3 bears no fault", "--allow-unsafe-size"]);
    let stays = "recover propose --config {} --seat node-1 --seat node-2 --seat node-3 --seat site-5 --out {}";
    lab.node_program(stays, &[&config.display(), &out.display()])
        .refused(1, &["it can go on by itself"]);

    // A survivor that has executed more refuses what would throw it away.
    let copy = lab.folder().join("behind.json");
    fs::copy(behind, &copy).expect("a copy");
    sign(lab, &copy, "ann", &digest_of(&copy)).ok();
    sign(lab, &copy, "cyd", &digest_of(&copy)).ok();
    accept(lab, &dir, &copy, "--yes").refused(1, &["must not be thrown away"]);
    statement
}

fn digest_of(file: &Path) -> Digest {
    let text = fs::read_to_string(file).expect("the statement");
    serde_json::from_str::<Recovery>(&text).expect("the statement").digest()
}

fn sign(lab: &Lab, file: &Path, who: &str, digest: &Digest) -> Said {
    let line = "--key {} recovery sign {} --digest {}";
    lab.twinfold(line, &[&who, &file.display(), digest])
}

fn signed(lab: &Lab, file: &Path) -> Digest {
    let digest = digest_of(file);
    sign(lab, file, "ann", &Digest([3; 32])).refused(1, &["its digest is", "another statement"]);
    sign(lab, file, "olaf", &digest).refused(1, &["none of its admins"]);
    assert!(sign(lab, file, "ann", &digest).ok().out.contains("1 of 2 needed"));
    sign(lab, file, "ann", &digest).refused(1, &["has signed it already"]);
    accept(lab, &lab.folder_of(0), file, "--yes").refused(1, &["1 of 2 admins have signed"]);
    sign(lab, file, "ben", &digest).ok();
    digest
}

fn accept(lab: &Lab, dir: &Path, file: &Path, yes: &str) -> Said {
    let line = format!("recover accept --config {{}} --statement {{}} {yes}");
    let config = dir.join("config.toml");
    lab.node_program(&line, &[&config.display(), &file.display()])
}

fn accepted_by_each(lab: &Lab, sites: &[Node; 3], file: &Path) {
    accept(lab, &lab.folder_of(0), file, "").refused(1, &["nobody is there to confirm"]);
    let said = accept(lab, &lab.folder_of(0), file, "--yes").ok();
    for part in ["state root", "out          node-2", "admins and seats agree", "Accepted"] {
        assert!(said.out.contains(part), "{part} is missing: {said:#?}");
    }
    assert!(accept(lab, &lab.folder_of(0), file, "").ok().out.contains("accepted here already"));
    for site in &sites[..2] {
        accept(lab, &site.at.dir, file, "--yes").ok();
    }
    let said = accept(lab, &sites[2].at.dir, file, "--yes").ok();
    assert!(said.out.contains("it fetches the rest"), "{said:#?}");
}

fn client(lab: &Lab, site: &Node, digest: Digest) -> Client {
    let options = ClientOptions {
        nodes: vec![lab.url(0), site.at.url.clone()],
        ca: None,
        genesis: Some(lab.network.genesis().to_path_buf()),
        accepted: [digest].into(),
        patience: PATIENCE,
    };
    Client::new(options).expect("a client")
}

fn it_goes_on(lab: &Lab, client: &Client, sites: &[Node; 3], kept: Height) {
    for number in 0..3 {
        let action = members::set_quota(50 + number);
        let key = members::secret("ann");
        let status = client.submit(&key, action, Level::Executed, PATIENCE).expect("executed");
        assert_eq!(code(&status), Code::Ok);
    }
    let status = client.status().expect("it answers");
    assert!(status.height > kept && status.epoch.0 == 1, "{status:?}");
    let epochs = client.epochs(Default::default(), 9).expect("epochs");
    assert!(matches!(epochs[0].end, Some(EpochEnd::Recovery(_))), "{epochs:?}");
    assert_eq!((epochs[1].joined.len(), epochs[1].left.len()), (3, 3));
    let said = lab.twinfold("--node {} epochs", &[&lab.url(0)]).ok();
    assert!(said.out.contains("by recovery"), "{said:#?}");
    for site in sites {
        same_state(&site.client, client);
        assert!(site.client.status().expect("it answers").seat.is_some());
    }
}

/// Equal roots at one height, of a node that goes on.
fn same_state(node: &Client, client: &Client) {
    until("a node stands at the others' height with their root", || {
        let (ours, theirs) = (node.status().ok()?, client.status().ok()?);
        assert_eq!(ours.halted, None);
        (ours.height == theirs.height).then(|| assert_eq!(ours.state_root, theirs.state_root))
    });
}

fn is_proved_across(lab: &Lab, tx: &TxId, digest: Digest) {
    let (file, url) = (lab.folder().join("proof"), lab.url(0));
    let file = file.display();
    let get = "--node {} proof get {} -o {}";
    let option = format!("--accept-recovery {digest}");
    lab.twinfold(get, &[&url, tx, &file]).refused(5, &[&option, "goes on from height"]);
    let accepting = format!("{option} {get}");
    until("a checkpoint of the new committee is stable", || {
        lab.twinfold(&accepting, &[&url, tx, &file]).ok();
        let report = lab.twinfold(&format!("{option} --json proof verify {{}}"), &[&file]).ok();
        (report.json()["epoch"] == 1).then_some(())
    });
    let offline = "--node http://127.0.0.1:9 proof verify {}";
    lab.twinfold(offline, &[&file]).refused(5, &[&option]);
    lab.twinfold(&format!("{option} {offline}"), &[&file]).ok();
    let other = format!("--accept-recovery {} {offline}", Digest([1; 32]));
    lab.twinfold(&other, &[&file]).refused(5, &[&option]);

    let genesis = lab.network.genesis().display();
    let checkpoint = "checkpoint --node {} --genesis {}";
    lab.node_program(checkpoint, &[&url, &genesis]).refused(1, &[&option]);
    lab.node_program(&format!("{checkpoint} {option}"), &[&url, &genesis]).ok();
}

fn who_has_not_accepted_stands_still(lab: &Lab, auditor: &Client, digest: Digest) {
    let why = until("the auditor's node says why it stands still", || {
        let log = fs::read_to_string(lab.folder().join("observer/log")).ok()?;
        log.contains("has not accepted").then_some(log)
    });
    for part in ["has not accepted", &digest.to_string(), "twinfold-node recover accept"] {
        assert!(why.contains(part), "{part} is missing: {why}");
    }
    assert_eq!(auditor.status().expect("it answers").epoch.0, 0);
}

/// From a copy of its folder that was made before it was lost.
fn a_lost_one_that_is_back_cannot_go_on(lab: &mut Lab, copy: &Path, digest: Digest) {
    let data = lab.folder_of(LOST[0]).join("data");
    fs::remove_dir_all(&data).ok();
    copy_folder(&copy.join("data"), &data);
    lab.start_node(LOST[0]);
    let client = lab.client_of(LOST[0]);
    until("it says why it stands still", || {
        lab.log(LOST[0]).contains(&digest.to_string()).then_some(())
    });
    assert_eq!(client.status().expect("it answers").epoch.0, 0);
}
