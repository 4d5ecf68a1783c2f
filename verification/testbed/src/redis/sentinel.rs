//! Servers under the watch of Redis Sentinel, which promotes the replica when the primary is gone.

use crate::process::until;
use crate::url::escaped;

use super::options::Kind;
use super::{Options, Redis};

/// The name under which the primary is known.
const NAME: &str = "testbed";

/// A primary, its replica, and the sentinels that watch them. Dropping it stops all of them.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl RedisSentinel {
    /// Starts two servers and this many sentinels, of which more than half have to agree that the primary is gone, and
    /// waits until each knows all others. One is enough for most tests.
    ///
    /// A password has to be of letters and digits. A primary is taken for dead when it was silent for three seconds:
    /// `pause` and `kill` lead to a failover.
    #[track_caller]
    pub fn start(sentinels: usize, options: Options) -> Self {
        let primary = Redis::start(options.clone());
        let replica = primary.replica(options);
        let quorum = sentinels / 2 + 1;
        let sentinels = (0..sentinels).map(|_| Redis::start(watching(&primary, quorum))).collect();
        let started = Self { servers: [primary, replica], sentinels };
        until("the sentinels know each other", || {
            started.sentinels.iter().all(|one| started.is_acquainted(one))
        });
        started
    }

    /// Whether a sentinel has found the replica and all the other sentinels.
    fn is_acquainted(&self, sentinel: &Redis) -> bool {
        let reply = sentinel.cli(&["SENTINEL", "MASTER", NAME]);
        let others = (self.sentinels.len() - 1).to_string();
        field(&reply, "num-slaves") == "1" && field(&reply, "num-other-sentinels") == others
    }

    /// The server that the first sentinel takes for the primary.
    #[track_caller]
    pub fn master(&self) -> &Redis {
        let port = master_port(&self.sentinels[0]);
        let found = self.servers.iter().find(|server| server.port().to_string() == port);
        found.unwrap_or_else(|| panic!("the sentinel takes port {port:?} for the primary's"))
    }

    /// The other server.
    #[track_caller]
    pub fn replica(&self) -> &Redis {
        let [one, other] = &self.servers;
        if self.master().port() == one.port() { other } else { one }
    }

    /// The sentinels. What can happen to a server can happen to each of them.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// The URL of the user `default`, by way of the sentinels:
    /// `redis-sentinel://127.0.0.1:26379?node=127.0.0.1:26380&sentinelServiceName=testbed`.
    pub fn url(&self) -> String {
        let ports: Vec<u16> = self.sentinels.iter().map(Redis::port).collect();
        let first = ports.first().copied().unwrap_or_default();
        let others: String = ports.iter().skip(1).map(|port| format!("node=127.0.0.1:{port}&")).collect();
        let url = self.servers[0].url_at(first).replacen("://", "-sentinel://", 1);
        format!("{url}?{others}sentinelServiceName={}", escaped(NAME))
    }

    /// Has the first sentinel promote the replica, as for maintenance, and waits until it is the primary. What the old
    /// one answered last may be lost: no sentinel stops it. It goes on taking writes from clients that stay connected,
    /// until a sentinel has it follow, some ten seconds later: `wait_linked` waits for that.
    #[track_caller]
    pub fn failover(&self) {
        let new = self.replica();
        let ask = ["SENTINEL", "FAILOVER", NAME];
        // It refuses while an earlier failover is not over yet.
        until("the sentinel begins a failover", || self.sentinels[0].try_cli(&ask).is_ok());
        self.wait_promoted(new);
    }

    /// Waits until all sentinels that run take a server for the primary, and it takes writes: after its primary was
    /// killed, stopped or paused.
    #[track_caller]
    pub fn wait_promoted(&self, server: &Redis) {
        let port = server.port().to_string();
        let running = || self.sentinels.iter().filter(|sentinel| sentinel.server.is_running());
        until("the server is promoted", || {
            // The sentinel that promotes it closes all its connections.
            let is_master = server.try_info("role").is_ok_and(|role| role == "master");
            is_master && running().all(|sentinel| master_port(sentinel) == port)
        });
    }
}

/// How a sentinel is set up that watches a server.
fn watching(primary: &Redis, quorum: usize) -> Options {
    let mut options = Options::default().kind(Kind::Sentinel);
    if primary.tls {
        options = options.tls_like(primary.folder());
    }
    let mut set = vec![
        format!("monitor {NAME} 127.0.0.1 {} {quorum}", primary.port()),
        format!("down-after-milliseconds {NAME} 3000"),
        format!("failover-timeout {NAME} 10000"),
    ];
    if let Some(password) = &primary.password {
        let is_plain = password.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(is_plain, "a sentinel forgets to quote the password {password:?} in its own file");
        set.push(format!("auth-pass {NAME} {password}"));
    }
    set.iter().fold(options, |options, value| options.setting("sentinel", value))
}

/// A field of a reply that has each name in one line and its value in the next.
fn field<'a>(reply: &'a str, name: &str) -> &'a str {
    let mut lines = reply.lines();
    lines.find(|line| *line == name);
    lines.next().unwrap_or_default()
}

/// The port of the server that a sentinel takes for the primary.
#[track_caller]
fn master_port(sentinel: &Redis) -> String {
    let address = sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
    address.lines().nth(1).unwrap_or_default().to_owned()
}
