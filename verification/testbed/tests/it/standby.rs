//! Standbys and failover.

use sentinel_testbed::postgres::Options;
use sentinel_testbed::{Postgres, until};

#[test]
fn a_commit_confirmed_by_a_synchronous_standby_survives_the_primary() {
    let primary = Postgres::start(Options::default());
    primary.psql("create table kept (n int)");
    let _first = primary.standby("first", true);
    let standby = primary.standby("second", true);
    let query = "select application_name, sync_state from pg_stat_replication order by 1";
    assert_eq!(primary.psql(query), "first|sync\nsecond|sync");
    assert_eq!(standby.psql("select pg_is_in_recovery()"), "t");
    primary.psql("insert into kept values (7)");
    primary.kill9();
    standby.promote();
    assert_eq!(standby.psql("select n from kept"), "7");
    // Its primary's list of standbys is not its own: it would wait for itself.
    assert_eq!(standby.psql("show synchronous_standby_names"), "");
    standby.psql("insert into kept values (8)");
    let line = "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
    assert_eq!(standby.psql(line), "00000002");
}

#[test]
fn commits_do_not_wait_for_an_asynchronous_standby() {
    let primary = Postgres::start(Options::default());
    let standby = primary.standby("behind", false);
    standby.pause();
    primary.psql("create table later (n int)");
    standby.resume();
    until("it has followed", || standby.psql("select to_regclass('later')") == "later");
    assert_eq!(primary.psql("select sync_state from pg_stat_replication"), "async");
}
