//! Admins decide together, operators within what the admins set; who was removed can
//! do nothing. All through the `twinfold` program.

use crate::lab::{
    Lab, code,
    learn::options,
    members::{CLINIC, TRAINERS, public},
};
use twinfold_types::{Action, Code, RoundNumber};

#[test]
fn members_change_by_two_of_three_admins() {
    let mut lab = Lab::form(2);
    lab.start_all();
    an_operator_is_added_by_two_signatures(&lab);
    a_proposal_is_signed_once_by_each_and_by_admins_only(&lab);
    the_operator_adds_trainers_within_the_quota(&lab);
    a_removed_trainer_can_do_nothing(&lab);
    too_few_admins_cannot_remain(&lab);
    lab.same_root();
}

/// Opens a proposal as ann; its identity.
fn propose(lab: &Lab, what: &str) -> String {
    let said = lab.twinfold(&format!("--json --key ann proposal new {what}"), &[]).ok().json();
    said["id"].as_str().expect("an identity").to_string()
}

fn sign(lab: &Lab, who: &str, id: &str) -> crate::lab::cli::Said {
    lab.twinfold("--json --key {} proposal sign {}", &[&who, &id])
}

fn status(lab: &Lab, id: &str) -> String {
    let said = lab.twinfold("--json proposal show {}", &[&id]).ok().json();
    said["status"].as_str().expect("a status").to_string()
}

fn is_member(lab: &Lab, name: &str) -> bool {
    let said = lab.twinfold("--json member list", &[]).ok().json();
    said.as_array().expect("a list").iter().any(|member| member["name"] == name)
}

fn decide(lab: &Lab, what: &str) -> String {
    let id = propose(lab, what);
    sign(lab, "cyd", &id).ok();
    id
}

fn an_operator_is_added_by_two_signatures(lab: &Lab) {
    let what = format!(
        "add-member --name nora --organisation plant --role operator --member-key {}",
        public("nora")
    );
    let (id, again) = (propose(lab, &what), propose(lab, &what));
    assert_eq!(status(lab, &id), "open");
    assert!(!is_member(lab, "nora"));
    sign(lab, "ben", &id).ok();
    assert_eq!(status(lab, &id), "passed");
    assert!(is_member(lab, "nora"));
    // The key is a member now: the other gets its signatures, and then fails.
    sign(lab, "cyd", &again).ok();
    assert_eq!(status(lab, &again), "failed");
}

fn a_proposal_is_signed_once_by_each_and_by_admins_only(lab: &Lab) {
    let id = propose(lab, "set-quota --organisation plant --trainers 1");
    sign(lab, "ann", &id).refused(3, &["already signed"]);
    sign(lab, "olaf", &id).refused(3, &["roles do not allow"]);
    sign(lab, "stranger", &id).refused(3, &["no member"]);
    assert_eq!(status(lab, &id), "open");
    sign(lab, "cyd", &id).ok();
    sign(lab, "ben", &id).refused(3, &["no longer open"]);
    sign(lab, "ben", &"ab".repeat(32)).refused(3, &["no such proposal"]);
}

fn add(lab: &Lab, operator: &str, organisation: &str, name: &str) -> crate::lab::cli::Said {
    lab.twinfold(
        "--key {} member add --name {} --organisation {} --member-key {}",
        &[&operator, &name, &organisation, &public(name)],
    )
}

fn the_operator_adds_trainers_within_the_quota(lab: &Lab) {
    add(lab, "nora", CLINIC, "tara").refused(3, &["another organisation"]);
    add(lab, "nora", "plant", "tara").ok();
    add(lab, "nora", "plant", "tilda").refused(3, &["quota"]);
    decide(lab, "set-quota --organisation plant --trainers 2");
    add(lab, "nora", "plant", "tilda").ok();
    add(lab, "nora", "plant", "tilda").refused(3, &["quota"]);
    add(lab, TRAINERS[0], CLINIC, "toni").refused(3, &["roles do not allow"]);
    lab.twinfold("--key nora member remove {}", &[&TRAINERS[0]])
        .refused(3, &["another organisation"]);
}

fn a_removed_trainer_can_do_nothing(lab: &Lab) {
    let course = lab.course(&options("members", 2));
    // Its update is ordered before it goes, and counts.
    assert_eq!(code(&course.update("tara", 0, 0.5)), Code::Ok);
    lab.twinfold("--key nora member remove tara", &[]).ok();
    assert!(!is_member(lab, "tara"));
    let base = course.collecting(0);
    let certificate = course.upload(TRAINERS[0], &course.payload("tara", &base, 0.5));
    let mut action = course.action(&base, certificate);
    action.round = Some(RoundNumber(0));
    let client = lab.client();
    let refused = client
        .submit(
            &crate::lab::members::secret("tara"),
            Action::Update(Box::new(action)),
            twinfold_types::api::Level::Executed,
            crate::lab::PATIENCE,
        )
        .expect_err("it is no member");
    assert!(refused.to_string().contains("no member"), "{refused}");
    let refused = client
        .upload(&crate::lab::members::secret("tara"), b"a payload")
        .expect_err("it is no member");
    assert!(refused.to_string().contains("member"), "{refused}");
    course.update(TRAINERS[0], 0, 0.5);
    assert_eq!(course.ended(0, 0).entries.len(), 2);
    // The quota counts who is there.
    add(lab, "nora", "plant", "toni").ok();
}

fn too_few_admins_cannot_remain(lab: &Lab) {
    let remove = |name: &str| format!("remove-member --member-key {}", public(name));
    let id = decide(lab, &remove("ben"));
    assert_eq!(status(lab, &id), "passed");
    sign(lab, "ben", &id).refused(3, &["no member"]);
    // One admin could not give two signatures: that is not even proposed.
    lab.twinfold(&format!("--key ann proposal new {}", remove("ann")), &[])
        .refused(3, &["fewer admins"]);
    assert!(is_member(lab, "ann"));
    let id = decide(lab, "set-threshold --signatures 1");
    assert_eq!(status(lab, &id), "passed");
    let alone = propose(lab, "set-quota --organisation plant --trainers 3");
    assert_eq!(status(lab, &alone), "passed");
}
