//! The label of a worker that sets none.

use sentinel_core::Label;

/// `host:pid`: the name of this host and the id of this process. `pid` and the id alone where the host has no name.
#[doc(hidden)]
pub fn default_worker() -> Label {
    label(host().as_deref(), std::process::id())
}

/// A name that is too long for a label is cut, and the process id is not.
fn label(host: Option<&str>, pid: u32) -> Label {
    match host.map(str::trim).filter(|host| !host.is_empty()) {
        Some(host) => Label::lossy(format!("{}:{pid}", &host[..host.floor_char_boundary(MAX_HOST)])),
        None => Label::lossy(format!("pid {pid}")),
    }
}

/// The longest name of a host in DNS, in bytes.
const MAX_HOST: usize = 253;

#[cfg(unix)]
fn host() -> Option<String> {
    Some(rustix::system::uname().nodename().to_string_lossy().into_owned())
}

#[cfg(not(unix))]
fn host() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_named_by_its_host_and_process() {
        assert_eq!(label(Some("web1"), 8742).as_str(), "web1:8742");
        for none in [None, Some(""), Some(" ")] {
            assert_eq!(label(none, 8742).as_str(), "pid 8742");
        }
        assert!(label(Some(&"ü".repeat(300)), 8742).as_str().ends_with("ü:8742"));
        assert_eq!(label(Some("a\nb"), 1).as_str(), "a b:1");
        let own = default_worker();
        assert!(own.as_str().ends_with(&format!("{}", std::process::id())), "{own}");
    }
}
