use sentinel_conformance::{faulty_histories, histories, linearizable};

use crate::memory::Memory;

#[test]
fn concurrent_histories_match_their_stamps() {
    histories::<Memory>(500);
}

#[test]
fn histories_behind_a_faulty_network_match_their_stamps() {
    faulty_histories::<Memory>(500);
}

#[test]
fn concurrent_histories_are_linearizable() {
    linearizable::<Memory>(500);
}
