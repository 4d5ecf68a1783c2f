//! A throwaway PostgreSQL server for a terminal: `cargo run -p sentinel-testbed`. It is gone when this program ends.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::io::{Read as _, stdin};

fn main() {
    let server = sentinel_testbed::postgres();
    println!("pid {}", server.pid());
    println!("folder {}", server.folder().display());
    println!("url {}", server.url());
    println!("socket {}", server.socket_url());
    // Until Ctrl-D; Ctrl-C and worse are the guard's business.
    let _ = stdin().read_to_end(&mut Vec::new());
}
