use sentinel_conformance::{faulty_histories, histories, linearizable};

use crate::memory::Memory;

#[test]
fn concurrent_histories_are_what_their_stamps_say() {
    histories::<Memory>(500);
}

#[test]
fn histories_behind_a_faulty_network_are_what_their_stamps_say() {
    faulty_histories::<Memory>(500);
}

#[test]
fn concurrent_histories_are_linearizable() {
    linearizable::<Memory>(500);
}
