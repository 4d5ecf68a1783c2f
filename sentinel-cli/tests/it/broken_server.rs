//! A server that stops or is killed while the program runs.

use rustix::process::Signal;
use sentinel_testbed::{Mode, Postgres, Redis};

use crate::world::{World, until};

/// Runs until the file `go` is there.
pub(crate) const WAITS: &str =
    "echo $$ > pid; echo run >> effects; until [ -e go ]; do sleep 0.05; done; echo done";

/// A server of its own.
trait Server {
    fn start() -> Self;
    /// A store on it, which is not set up.
    fn world(&self) -> World;
    fn stop(&self);
    fn kill(&self);
    fn start_again(&self);
}

impl Server for Postgres {
    fn start() -> Self {
        Postgres::start(Default::default())
    }

    fn world(&self) -> World {
        World::at(self)
    }

    fn stop(&self) {
        self.stop(Mode::Fast);
    }

    fn kill(&self) {
        self.kill9();
    }

    fn start_again(&self) {
        self.start_again();
    }
}

impl Server for Redis {
    fn start() -> Self {
        Redis::start(Default::default())
    }

    fn world(&self) -> World {
        World::on(&self.url())
    }

    fn stop(&self) {
        self.stop();
    }

    fn kill(&self) {
        self.kill();
    }

    fn start_again(&self) {
        self.start_again();
    }
}

/// Makes a function one test for each kind of server: `name::postgres` and `name::redis`.
macro_rules! each_server {
    ($name:ident) => {
        mod $name {
            #[test]
            fn postgres() {
                super::$name::<sentinel_testbed::Postgres>();
            }

            #[test]
            fn redis() {
                super::$name::<sentinel_testbed::Redis>();
            }
        }
    };
}

/// A server, and a store on it that is set up.
fn ready<S: Server>() -> (S, World) {
    let server = S::start();
    let world = server.world();
    assert_eq!(world.run(&["init"]).code(), 0);
    (server, world)
}

each_server!(a_server_that_stops_during_a_run_leaves_the_key_uncertain);
fn a_server_that_stops_during_a_run_leaves_the_key_uncertain<S: Server>() {
    let (server, world) = ready::<S>();
    let running = world.start(&["once", "k", "--", "sh", "-c", WAITS]);
    until("it runs", || !world.read("effects").is_empty());
    server.stop();
    std::fs::write(world.path("go"), "").unwrap();
    until("the program has reaped the command", || world.has_reaped());
    let ran = running.ended_by(Signal::TERM);
    assert_eq!((ran.code(), ran.out().as_str()), (76, "done\n"), "{ran:?}");
    assert!(ran.err().contains("did not confirm"), "{ran:?}");
    assert_eq!(world.once("other", &[], "touch ran").code(), 69);
    server.start_again();
    until("the key is in doubt", || world.inspect("k")["state"] == "uncertain");
    assert_eq!(world.once("k", &[], "touch ran").code(), 76);
    assert!(!world.path("ran").exists());
}

each_server!(a_server_that_comes_back_gets_the_result);
fn a_server_that_comes_back_gets_the_result<S: Server>() {
    let (server, world) = ready::<S>();
    let running = world.start(&["once", "k", "--ttl", "5m", "--", "sh", "-c", WAITS]);
    until("it runs", || !world.read("effects").is_empty());
    server.kill();
    server.start_again();
    std::fs::write(world.path("go"), "").unwrap();
    let ran = running.ended();
    assert_eq!((ran.code(), ran.out().as_str()), (0, "done\n"), "{ran:?}");
    assert_eq!(world.once("k", &[], "touch ran").out(), "done\n");
    assert_eq!(world.read("effects"), "run\n");
}

each_server!(a_lease_ends_with_the_server_that_kept_it);
fn a_lease_ends_with_the_server_that_kept_it<S: Server>() {
    let (server, world) = ready::<S>();
    let script = "echo held > held; exec sleep 600";
    let running = world.start(&["lease", "k", "--ttl", "2s", "--", "sh", "-c", script]);
    until("it is held", || !world.read("held").is_empty());
    server.kill();
    let ran = running.ended();
    assert_eq!(ran.code(), 76, "{ran:?}");
}
