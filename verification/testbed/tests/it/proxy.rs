//! The proxy, in front of an echo that remembers.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentinel_testbed::postgres::{PASSWORD, SUPERUSER};
use sentinel_testbed::{PgBouncer, Proxy, pgbouncer, postgres, until};

/// Sends back what it gets, and remembers it and how its connections ended.
#[derive(Clone, Default)]
struct Echo {
    received: Arc<Mutex<Vec<u8>>>,
    ends: Arc<Mutex<Vec<Result<(), ErrorKind>>>>,
    /// The number of pieces in which it was received.
    reads: Arc<AtomicUsize>,
}

impl Echo {
    fn start() -> (Self, Proxy) {
        let (echo, listener) = (Self::default(), TcpListener::bind("127.0.0.1:0").unwrap());
        let proxy = Proxy::start(listener.local_addr().unwrap().port());
        let serving = echo.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let echo = serving.clone();
                std::thread::spawn(move || echo.serve(stream.unwrap()));
            }
        });
        (echo, proxy)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = [0; 4096];
        let end = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(length) => {
                    self.reads.fetch_add(1, Ordering::SeqCst);
                    self.received.lock().unwrap().extend(&buffer[..length]);
                    // A client that has gone shows at the next read.
                    let _ = stream.write_all(&buffer[..length]);
                }
                Err(error) => break Err(error.kind()),
            }
        };
        self.ends.lock().unwrap().push(end);
    }

    fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }

    fn ends(&self) -> Vec<Result<(), ErrorKind>> {
        self.ends.lock().unwrap().clone()
    }
}

fn client(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    // A test that waits in vain ends.
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    stream
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// What arrives until the end, and how it ends.
fn rest(mut stream: TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = vec![];
    let end = stream.read_to_end(&mut bytes).map(drop).map_err(|error| error.kind());
    (bytes, end)
}

#[test]
fn a_turn_is_counted_when_a_client_sends_after_a_reply() {
    let (echo, proxy) = Echo::start();
    let (mut one, mut other) = (client(&proxy), client(&proxy));
    for asked in 1..=3 {
        for stream in [&mut one, &mut other] {
            stream.write_all(b"ask").unwrap();
            assert_eq!(read(stream, 3), b"ask");
        }
        assert_eq!(proxy.turns(), 2 * asked);
    }
    // What is sent before the reply comes belongs to the same turn.
    proxy.replies().hold();
    for _ in 0..3 {
        let received = echo.received().len();
        one.write_all(b"more").unwrap();
        until("it is received", || echo.received().len() == received + 4);
    }
    assert_eq!(proxy.turns(), 7);
}

#[test]
fn it_can_lead_to_another_server() {
    let ((one, proxy), (other, beside)) = (Echo::start(), Echo::start());
    let mut before = client(&proxy);
    before.write_all(b"one").unwrap();
    before.read_exact(&mut [0; 3]).unwrap();
    proxy.lead_to(beside.port());
    assert!(before.read(&mut [0; 1]).is_err(), "it is cut");
    let mut after = client(&proxy);
    after.write_all(b"other").unwrap();
    after.read_exact(&mut [0; 5]).unwrap();
    assert_eq!((one.received(), other.received()), (b"one".to_vec(), b"other".to_vec()));
}

#[test]
fn many_connections_pass_both_ways_and_keep_their_ends() {
    let (echo, proxy) = Echo::start();
    let whole: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let stream = client(&proxy);
                let mut sending = stream.try_clone().unwrap();
                scope.spawn(|| {
                    sending.write_all(&whole).unwrap();
                    sending.shutdown(Shutdown::Write).unwrap();
                    drop(sending);
                });
                assert!(rest(stream) == (whole.clone(), Ok(())));
            });
        }
    });
    until("all have ended", || proxy.open() == 0 && echo.ends().len() == 20);
    assert!(echo.ends().iter().all(Result::is_ok));
    assert_eq!(
        (proxy.accepted(), proxy.requests().passed(), proxy.replies().passed()),
        (20, 20_000_000, 20_000_000)
    );
    assert_eq!((proxy.requests().waiting(), proxy.replies().swallowed()), (0, 0));
}

#[test]
fn a_swallowed_reply_is_lost_but_its_request_arrives() {
    let (echo, proxy) = Echo::start();
    let mut stream = client(&proxy);
    proxy.replies().swallow();
    stream.write_all(b"lost").unwrap();
    until("the reply is lost", || proxy.replies().swallowed() == 4);
    proxy.replies().pass();
    stream.write_all(b"next").unwrap();
    assert_eq!(read(&mut stream, 4), b"next");
    assert_eq!(echo.received(), b"lostnext");
}

#[test]
fn the_nth_reply_and_all_that_follows_on_its_connection_are_lost() {
    let (echo, proxy) = Echo::start();
    let (mut one, mut other) = (client(&proxy), client(&proxy));
    proxy.replies().swallow_nth(3);
    for stream in [&mut one, &mut other] {
        stream.write_all(b"passes").unwrap();
        assert_eq!(read(stream, 6), b"passes");
    }
    one.write_all(b"lost").unwrap();
    until("it is lost", || proxy.replies().swallowed() == 4);
    // Others are answered, and so are new ones; it is not.
    for stream in [&mut other, &mut client(&proxy)] {
        stream.write_all(b"passes").unwrap();
        assert_eq!(read(stream, 6), b"passes");
    }
    one.write_all(b"also").unwrap();
    until("it is lost", || proxy.replies().swallowed() == 8);
    one.shutdown(Shutdown::Write).unwrap();
    until("its end is received", || echo.ends().len() == 2);
    proxy.cut();
    assert_eq!(rest(one), (vec![], Err(ErrorKind::ConnectionReset)));
}

#[test]
fn the_nth_request_is_lost() {
    let (echo, proxy) = Echo::start();
    let mut stream = client(&proxy);
    proxy.requests().swallow_nth(2);
    stream.write_all(b"passes").unwrap();
    assert_eq!(read(&mut stream, 6), b"passes");
    stream.write_all(b"lost").unwrap();
    until("it is lost", || proxy.requests().swallowed() == 4);
    assert_eq!(echo.received(), b"passes");
    // What was asked for and did not come about yet can be taken back.
    proxy.requests().swallow_nth(1);
    proxy.heal();
    let mut after = client(&proxy);
    after.write_all(b"passes").unwrap();
    assert_eq!(read(&mut after, 6), b"passes");
}

#[test]
fn sliced_bytes_arrive_in_pieces_and_complete() {
    let (echo, proxy) = Echo::start();
    proxy.requests().slice(1);
    proxy.replies().slice(3);
    let mut stream = client(&proxy);
    let mut sent = vec![];
    // A receiver may be so late that all pieces wait for it at once: then they are sent again.
    until("it is received in pieces", || {
        let bytes: Vec<u8> = (0..100).collect();
        stream.write_all(&bytes).unwrap();
        assert_eq!(read(&mut stream, 100), bytes);
        sent.extend(bytes);
        echo.reads.load(Ordering::SeqCst) > sent.len() / 100
    });
    assert_eq!(echo.received(), sent);
}

#[test]
fn held_bytes_arrive_in_order_when_released() {
    let (echo, proxy) = Echo::start();
    let mut stream = client(&proxy);
    proxy.requests().hold();
    for word in [b"one", b"two"] {
        let before = proxy.requests().waiting();
        stream.write_all(word).unwrap();
        until("it is held", || proxy.requests().waiting() == before + 3);
    }
    assert_eq!((echo.received(), proxy.requests().passed()), (vec![], 0));
    proxy.requests().pass();
    assert_eq!(read(&mut stream, 6), b"onetwo");
}

#[test]
fn held_bytes_can_still_be_lost() {
    let (echo, proxy) = Echo::start();
    let mut stream = client(&proxy);
    proxy.requests().hold();
    stream.write_all(b"lost").unwrap();
    until("it is held", || proxy.requests().waiting() == 4);
    proxy.requests().swallow();
    until("it is lost", || proxy.requests().swallowed() == 4);
    proxy.requests().pass();
    stream.write_all(b"next").unwrap();
    assert_eq!((read(&mut stream, 4), echo.received()), (b"next".to_vec(), b"next".to_vec()));
}

#[test]
fn a_black_hole_passes_nothing_not_even_an_end() {
    let (echo, proxy) = Echo::start();
    let mut leaving = client(&proxy);
    proxy.black_hole();
    leaving.write_all(b"lost").unwrap();
    until("it is lost", || proxy.requests().swallowed() == 4);
    drop(leaving);
    // A second one, on the same thread of the proxy: what it does comes after the first one's end.
    let mut second = client(&proxy);
    second.write_all(b"lost too").unwrap();
    until("it is lost", || proxy.requests().swallowed() == 12);
    assert_eq!((echo.received(), echo.ends(), proxy.open()), (vec![], vec![], 2));
    proxy.heal();
    until("the first one's end arrives", || echo.ends() == [Ok(())]);
    second.write_all(b"next").unwrap();
    assert_eq!(read(&mut second, 4), b"next");
}

#[test]
fn a_cut_resets_both_ends_of_open_connections() {
    let (echo, proxy) = Echo::start();
    let mut streams = [client(&proxy), client(&proxy)];
    for stream in &mut streams {
        stream.write_all(b"word").unwrap();
        assert_eq!(read(stream, 4), b"word");
    }
    proxy.cut();
    assert_eq!(proxy.open(), 0);
    for stream in streams {
        assert_eq!(rest(stream), (vec![], Err(ErrorKind::ConnectionReset)));
    }
    until("the server knows", || echo.ends() == [Err(ErrorKind::ConnectionReset); 2]);
    let mut later = client(&proxy);
    later.write_all(b"next").unwrap();
    assert_eq!(read(&mut later, 4), b"next");
}

#[test]
fn a_connection_is_cut_after_the_given_byte() {
    let (echo, proxy) = Echo::start();
    let mut stream = client(&proxy);
    proxy.requests().cut_after(7);
    stream.write_all(b"four").unwrap();
    assert_eq!(read(&mut stream, 4), b"four");
    // The client may learn of it while it writes.
    let _ = stream.write_all(b"more of it");
    until("it is cut", || echo.ends().len() == 1);
    assert_eq!((proxy.requests().passed(), rest(stream).1), (7, Err(ErrorKind::ConnectionReset)));
    assert!(b"fourmor".starts_with(&echo.received()), "a reset may overtake what was sent before it");
    let mut later = client(&proxy);
    later.write_all(&[b'x'; 100]).unwrap();
    assert_eq!(read(&mut later, 100), [b'x'; 100]);
}

#[test]
fn delayed_bytes_arrive_later() {
    const BY: Duration = Duration::from_millis(200);
    let (_echo, proxy) = Echo::start();
    let mut stream = client(&proxy);
    proxy.replies().delay(BY);
    let sent = tokio::time::Instant::now();
    stream.write_all(b"word").unwrap();
    assert_eq!(read(&mut stream, 4), b"word");
    assert!(sent.elapsed() >= BY);
    // After `pass`, held bytes do not wait for the rest of their delay.
    proxy.replies().delay(Duration::from_secs(3600));
    stream.write_all(b"late").unwrap();
    until("it waits", || proxy.replies().waiting() == 4);
    proxy.replies().pass();
    assert_eq!(read(&mut stream, 4), b"late");
}

#[test]
fn refused_connections_are_cut_and_others_stay() {
    let (_echo, proxy) = Echo::start();
    let mut stream = client(&proxy);
    stream.write_all(b"one").unwrap();
    assert_eq!(read(&mut stream, 3), b"one");
    proxy.refuse();
    assert_eq!(rest(client(&proxy)), (vec![], Err(ErrorKind::ConnectionReset)));
    stream.write_all(b"two").unwrap();
    assert_eq!((read(&mut stream, 3), proxy.accepted(), proxy.open()), (b"two".to_vec(), 2, 1));
    proxy.heal();
    let mut later = client(&proxy);
    later.write_all(b"x").unwrap();
    assert_eq!(read(&mut later, 1), b"x");
}

#[test]
fn a_missing_server_is_a_reset() {
    // A port that no program is given by chance.
    let proxy = Proxy::start(1);
    assert_eq!(rest(client(&proxy)), (vec![], Err(ErrorKind::ConnectionReset)));
}

#[test]
fn a_dropped_proxy_has_cut_its_connections() {
    let (_echo, proxy) = Echo::start();
    let mut stream = client(&proxy);
    stream.write_all(b"x").unwrap();
    assert_eq!(read(&mut stream, 1), b"x");
    drop(proxy);
    assert!(rest(stream).0.is_empty());
}

#[test]
fn it_works_in_front_of_real_servers() {
    let bouncer = PgBouncer::start(postgres(), pgbouncer::Options::default());
    for port in [postgres().port(), bouncer.port()] {
        let proxy = Proxy::start(port);
        let url = postgres().url_at(proxy.port(), SUPERUSER, PASSWORD, "postgres");
        let output =
            postgres().command("psql").args(["-X", "-A", "-t", "-d", &url, "-c", "select 1"]).output();
        assert_eq!(output.unwrap().stdout, b"1\n");
        assert!(proxy.accepted() > 0 && proxy.replies().passed() > 0);
    }
}
