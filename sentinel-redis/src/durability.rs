//! How durable a write must be before the store replies.

/// How durable a write must be before it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// As the server's own settings have it.
    #[default]
    Server,
    /// On this many replicas too: `WAIT`. It reduces what a failover can lose, and does not exclude a loss.
    Replicas(u32),
    /// On the disk of the server, and of this many replicas: `WAITAOF`, of Redis 7.2 or newer.
    Disk {
        /// How many replicas.
        replicas: u32,
    },
}
