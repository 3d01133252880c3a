//! Mistakes made on purpose: each must show within a stated number of seeds, as the promise
//! that it breaks. What else breaks on the way does not count.

use crate::{
    lie::{Flaw, Mistake, WorldFault},
    plan::Plan,
    world::{World, is_watched},
};
use twinfold_consensus_planted::Planted;

/// Runs seeds until the mistake shows.
fn is_found(mistake: Mistake, seeds: u64, promises: &'static [&'static str]) {
    let found = (0..seeds).find_map(|seed| {
        let world = World::new(Plan::with_mistake(seed, mistake), false).watching(promises);
        let failure = world.run().err()?;
        is_watched(promises, &failure).then_some((seed, failure))
    });
    let (seed, failure) =
        found.unwrap_or_else(|| panic!("{mistake:?} shows in none of {seeds} seeds"));
    println!("{mistake:?} shows at seed {seed}: {failure}");
}

fn in_world(fault: WorldFault, seeds: u64, promises: &'static [&'static str]) {
    is_found(Mistake::World(fault), seeds, promises);
}

fn in_machine(planted: Planted, seeds: u64, promises: &'static [&'static str]) {
    is_found(Mistake::Machine(planted), seeds, promises);
}

fn in_execution(flaw: Flaw, seeds: u64, promises: &'static [&'static str]) {
    is_found(Mistake::Execution(flaw), seeds, promises);
}

#[test]
fn an_unordered_map_in_execution_gives_different_states() {
    in_execution(Flaw::UnorderedMap, 5, &["determinism"]);
}

#[test]
fn a_replay_window_off_by_one_applies_a_transaction_twice() {
    in_execution(Flaw::ReplayOffByOne, 60, &["exactly once"]);
}

#[test]
fn a_fold_that_depends_on_the_order_of_arrival_gives_different_models() {
    in_execution(Flaw::ArrivalFold, 10, &["determinism"]);
}

#[test]
fn stake_that_is_free_and_on_its_way_as_well_is_not_conserved() {
    in_execution(Flaw::UnbondingKept, 20, &["conserved"]);
}

#[test]
fn a_block_above_an_epochs_last_is_seen() {
    in_machine(Planted::EndIgnored, 5, &["one committee"]);
}

#[test]
fn a_certificate_of_the_epoch_before_that_counts_is_seen() {
    in_machine(Planted::NeighbourEpoch, 400, &["one base"]);
}

#[test]
fn evidence_that_is_dropped_at_an_epochs_end_is_missed() {
    in_machine(Planted::EvidenceDropped, 20, &["punished"]);
}

#[test]
fn one_liar_too_many_breaks_agreement() {
    in_world(WorldFault::OneLiarTooMany, 200, &["agreement"]);
}

#[test]
fn one_pair_of_twins_too_many_breaks_agreement() {
    in_world(WorldFault::OneTwinTooMany, 400, &["agreement"]);
}

#[test]
fn going_on_after_a_failed_sync_is_seen() {
    in_world(WorldFault::FailedSyncIgnored, 20, &["synced"]);
}

#[test]
fn signatures_that_nobody_checks_let_forged_certificates_in() {
    in_world(WorldFault::SignaturesUnchecked, 20, &["certified", "agreement"]);
}

#[test]
fn a_leader_that_is_never_replaced_as_planned_censors_for_good() {
    in_world(WorldFault::NeverRotated, 20, &["heals"]);
}

#[test]
fn a_disk_that_loses_records_makes_seats_vote_twice() {
    in_world(WorldFault::RecordsLost, 200, &["single vote"]);
}

#[test]
fn speaking_before_the_sync_makes_seats_vote_twice() {
    in_world(WorldFault::SpokenBeforeSync, 200, &["single vote"]);
}

#[test]
fn a_quorum_short_by_one_breaks_agreement() {
    in_machine(Planted::QuorumShortByOne, 200, &["agreement"]);
}

#[test]
fn an_own_vote_counted_before_its_sync_is_seen() {
    in_machine(Planted::OwnVoteCountedEarly, 10, &["counted"]);
}

#[test]
fn a_body_that_is_not_synced_before_the_prepare_is_seen() {
    in_machine(Planted::BodyNotDurable, 10, &["synced"]);
}

#[test]
fn a_vote_that_leaves_before_it_is_durable_is_seen() {
    in_machine(Planted::VoteNotDurable, 10, &["synced"]);
}

#[test]
fn a_view_change_that_claims_nothing_breaks_agreement() {
    in_machine(Planted::ClaimIgnored, 200, &["agreement"]);
}

#[test]
fn a_new_view_on_the_lowest_claim_breaks_agreement() {
    in_machine(Planted::LowestClaimTaken, 200, &["agreement"]);
}

#[test]
fn a_second_new_view_of_one_view_is_seen() {
    in_machine(Planted::InstalledTwice, 200, &["one base"]);
}

#[test]
fn a_base_that_is_not_prepared_again_breaks_agreement() {
    in_machine(Planted::BaseSkipped, 600, &["agreement"]);
}

#[test]
fn a_base_that_is_not_prepared_first_is_seen() {
    in_machine(Planted::BaseSkipped, 20, &["base first"]);
}

#[test]
fn a_block_prepared_above_a_gap_is_seen() {
    in_machine(Planted::GapFilled, 200, &["unbroken"]);
}

#[test]
fn votes_beyond_the_watermark_are_seen() {
    in_machine(Planted::WatermarkIgnored, 10, &["bounded"]);
}

#[test]
fn a_vote_below_the_view_change_signed_is_seen() {
    in_machine(Planted::LeavingIgnored, 20, &["single vote"]);
}
