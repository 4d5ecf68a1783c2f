//! The conformance suite for one deployment mode of several.

/// Checks one deployment mode of a store with every law, a quarter of the matrix and few generated tests. Another mode
/// of the same store runs all of it: a mode changes how requests and replies travel, and that needs fewer cases.
#[macro_export]
macro_rules! deployment_suite {
    ($harness:ty) => {
        $crate::sentinel_conformance::suite!(
            $harness,
            sequences = 50,
            histories = 20,
            matrix_share = 4,
            law_passes = 1
        );
    };
}
