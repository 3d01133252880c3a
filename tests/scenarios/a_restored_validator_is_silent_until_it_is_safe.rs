//! A validator is started from an old copy of its folder. The others remember what it signed
//! since: it says nothing until that is settled, then takes part again.

use crate::lab::{Lab, files::copy_folder, members, until};
use std::{fs, path::PathBuf};

const RESTORED: usize = 3;

#[test]
fn a_restored_validator_is_silent_until_it_is_safe() {
    let mut lab = Lab::start();
    until("the validator takes part", || takes_part(&lab, 1));
    decide(&lab, 3);
    assert!(lab.stop(RESTORED).success());
    let (data, copy) = (lab.folder_of(RESTORED).join("data"), lab.folder().join("copy"));
    copy_folder(&data, &copy);
    lab.restart(RESTORED);
    // It votes on these, and the copy knows nothing of it.
    until("the validator takes part", || takes_part(&lab, 2));
    decide(&lab, 6);
    lab.same_root();
    assert!(lab.stop(RESTORED).success());
    assert!(!lab.log(RESTORED).contains("signs nothing"), "a plain restart is no restored copy");
    fs::remove_dir_all(&data).unwrap();
    copy_folder(&copy, &data);
    lab.restart(RESTORED);
    until("the validator falls silent", || {
        lab.log(RESTORED).contains("it signs nothing until a stable checkpoint").then_some(())
    });
    let config = lab.folder_of(RESTORED).join("config.toml");
    until("the doctor says so", || {
        let said = lab.node_program("doctor --config {}", &[&config.display()]);
        said.out.contains("this validator signs nothing").then_some(())
    });

    decide(&lab, 1);
    assert!(!signers(&lab).contains(&(RESTORED as u64)), "it is among the signers");
    // Over a restart too.
    lab.kill(RESTORED);
    lab.restart(RESTORED);
    decide(&lab, 8);
    until("the validator takes part", || {
        let log = lab.log(RESTORED);
        let log = log.rsplit("it signs nothing until").next()?;
        log.contains("this validator takes part").then_some(())
    });
    lab.same_root();
    // Without it there is no quorum now.
    lab.kill(0);
    decide(&lab, 2);
    assert!(signers(&lab).contains(&(RESTORED as u64)));
    lab.restart(0);
    lab.same_root();
    for index in 0..4 {
        assert!(!lab.log(index).contains("signed two things at once"), "node {index} accuses");
    }
    everyone_starts_at_once(&mut lab);
}

/// Whether it has begun to take part so many times.
fn takes_part(lab: &Lab, times: usize) -> Option<()> {
    let said = lab.log(RESTORED).matches("this validator takes part").count();
    (said >= times).then_some(())
}

/// Everybody asks everybody, and nobody waits for who waits.
fn everyone_starts_at_once(lab: &mut Lab) {
    (0..4).for_each(|index| lab.kill(index));
    lab.start_all();
    decide(lab, 2);
    lab.same_root();
}

fn decide(lab: &Lab, times: u32) {
    for number in 0..times {
        lab.done("ann", members::set_quota(40 + number));
    }
}

/// Seats that signed the newest stable checkpoint of a node that has one of the newest height.
fn signers(lab: &Lab) -> Vec<u64> {
    let genesis: PathBuf = lab.network.genesis().into();
    let height = lab.status(1).height;
    until("the newest height is certified", || {
        let said = lab
            .node_program("checkpoint --node {} --genesis {}", &[&lab.url(1), &genesis.display()]);
        let json: serde_json::Value = serde_json::from_str(&said.out).ok()?;
        let certificate = &json["certificate"];
        let newest = certificate["checkpoint"]["height"].as_u64()? >= height.0;
        let signatures = certificate["signatures"].as_array()?;
        newest.then(|| signatures.iter().filter_map(|pair| pair[0].as_u64()).collect())
    })
}
