//! What operations cost: calls of scripts, commands of the server and bytes of the append-only file, checked against
//! budgets. None of the figures is a time, so the result does not depend on how busy the machine is.

mod budgets;
mod meter;

sentinel_store_tests::cost_tests!(super::cost::meter::Meter, budgets);
