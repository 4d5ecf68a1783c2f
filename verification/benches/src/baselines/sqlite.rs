//! SQLite without anything around it: one connection, the same settings, one statement a commit.

use std::path::Path;

use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use crate::context::BenchContext;
use crate::measure::Run;
use crate::measure::loops::one_by_one;

const INSERT: &str = "INSERT INTO bare (key, body) VALUES (?1, ?2)";
const SELECT: &str = "SELECT body FROM bare WHERE key = ?1";
const UPDATE: &str = "UPDATE bare SET until = until + 1 WHERE key = ?1";
const KEYS: u64 = 10_000;

/// One row of this many bytes for each commit: the baseline of anything durable in this file format.
pub(crate) fn insert<'a>(context: &BenchContext, bytes: usize) -> Run<'a> {
    let (connection, body, mut key) = (bare(&context.file("bare")), vec![7_u8; bytes], 0_u64);
    Box::new(move |span| {
        let mut statement = connection.prepare_cached(INSERT).unwrap();
        one_by_one(span, |_| {
            key += 1;
            statement.execute(params![format!("invoice-{key:08}"), body]).unwrap();
        })
    })
}

/// The same, each handed to a thread that owns the connection, and awaited, as asynchronous code must: it may not wait
/// for a disk.
pub(crate) fn insert_by_a_thread<'a>(context: &'a BenchContext) -> Run<'a> {
    let file = context.file("handed");
    drop(bare(&file));
    let mut key = 0_u64;
    Box::new(move |span| {
        let (hand, handed) = std::sync::mpsc::channel::<(u64, oneshot::Sender<()>)>();
        let file = file.clone();
        let thread = std::thread::spawn(move || {
            let connection = bare(&file);
            let mut statement = connection.prepare(INSERT).unwrap();
            for (n, done) in handed {
                statement.execute(params![format!("invoice-{n:08}"), [7_u8; 100]]).unwrap();
                done.send(()).unwrap();
            }
        });
        let sample = one_by_one(span, |_| {
            key += 1;
            let (done, wait) = oneshot::channel();
            hand.send((key, done)).unwrap();
            context.runtime.block_on(wait).unwrap();
        });
        drop(hand);
        thread.join().unwrap();
        sample
    })
}

/// One row by its key.
pub(crate) fn select<'a>(context: &BenchContext) -> Run<'a> {
    let connection = filled(context);
    Box::new(move |span| {
        let mut statement = connection.prepare_cached(SELECT).unwrap();
        one_by_one(span, |n| {
            let body: Vec<u8> = statement.query_row([key(n)], |row| row.get(0)).unwrap();
            assert_eq!(body.len(), 100);
        })
    })
}

/// One row by its key, committed.
pub(crate) fn update<'a>(context: &BenchContext) -> Run<'a> {
    let connection = filled(context);
    Box::new(move |span| {
        let mut statement = connection.prepare_cached(UPDATE).unwrap();
        one_by_one(span, |n| {
            statement.execute([key(n)]).unwrap();
        })
    })
}

/// Reads, and one write after this many of them.
pub(crate) fn mixed<'a>(context: &BenchContext, reads: u64) -> Run<'a> {
    let (connection, mut fresh) = (filled(context), KEYS);
    Box::new(move |span| {
        let mut select = connection.prepare_cached(SELECT).unwrap();
        let mut insert = connection.prepare_cached(INSERT).unwrap();
        one_by_one(span, |n| {
            if n % (reads + 1) == reads {
                fresh += 1;
                insert.execute(params![format!("invoice-{fresh:08}"), [7_u8; 100]]).unwrap();
            } else {
                let _: Vec<u8> = select.query_row([key(n)], |row| row.get(0)).unwrap();
            }
        })
    })
}

fn key(n: u64) -> String {
    format!("invoice-{:08}", n.wrapping_mul(7919) % KEYS)
}

fn filled(context: &BenchContext) -> Connection {
    let mut connection = bare(&context.file("filled"));
    let all = connection.transaction().unwrap();
    for n in 0..KEYS {
        all.execute(INSERT, params![key(n), [7_u8; 100]]).unwrap();
    }
    all.commit().unwrap();
    connection
}

fn bare(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    let table = "CREATE TABLE IF NOT EXISTS bare \
                 (id INTEGER PRIMARY KEY, key TEXT UNIQUE, until INTEGER NOT NULL DEFAULT 0, body BLOB)";
    connection.execute_batch(table).unwrap();
    connection
}
