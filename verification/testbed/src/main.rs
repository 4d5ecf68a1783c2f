//! A throwaway server for a terminal: `cargo run -p sentinel-testbed`, which is PostgreSQL, or with `-- redis`. It is
//! gone when this program ends.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::fmt::Display;
use std::io::{Read as _, stdin};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("redis") {
        let server = sentinel_testbed::redis();
        print(server.pid(), server.folder().display(), &server.url(), &server.socket_url());
    } else {
        let server = sentinel_testbed::postgres();
        print(server.pid(), server.folder().display(), &server.url(), &server.socket_url());
    }
    // Until Ctrl-D; after Ctrl-C or a kill the guard cleans up.
    let _ = stdin().read_to_end(&mut Vec::new());
}

fn print(pid: u32, folder: impl Display, url: &str, socket: &str) {
    println!("pid {pid}\nfolder {folder}\nurl {url}\nsocket {socket}");
}
