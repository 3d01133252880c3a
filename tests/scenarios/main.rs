//! Scenes on real processes: networks of `twinfold-node`, the `twinfold` program, and
//! everything on 127.0.0.1 with ports that the system chose. One file a scenario,
//! named by what it shows. Each cleans up after itself, and none asserts a time.

mod lab;

mod a_candidate_with_more_stake_takes_a_seat_and_no_transaction_is_lost;
mod a_damaged_folder_is_refused_and_says_what_is_damaged;
mod a_full_disk_stops_a_node_cleanly;
mod a_killed_trainer_resumes_and_sends_nothing_twice;
mod a_late_joiner_catches_up;
mod a_mistake_in_the_configuration_is_named_with_its_line;
mod a_model_is_proved_offline_from_genesis;
mod a_round_without_enough_updates_ends_void_and_never_hangs;
mod a_validator_whose_state_differs_names_the_first_key;
mod an_observer_replays_to_the_same_root;
mod bad_files_are_refused_by_name;
mod bad_transactions_are_refused_by_name;
mod each_validator_killed_in_turn_under_load_loses_nothing;
mod f_validators_killed_in_mid_round_do_not_stop_it;
mod members_change_by_two_of_three_admins;
mod nodes_of_different_genesis_refuse_each_other;
mod random_bytes_on_every_port_harm_nobody;
mod the_api_is_documented_bounded_and_resumable;
mod the_api_speaks_tls_where_it_is_configured;
mod the_doctor_names_who_is_missing;
mod the_launcher_trains_checks_and_leaves_nothing;
mod the_operations_page_holds_to_the_letter;
mod the_python_script_trains;
