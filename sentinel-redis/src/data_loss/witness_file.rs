//! A file with the newest change, for short-lived programs: the next one on this host checks whether the change is
//! still there.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fred::types::config::ServerConfig;
use sentinel_core::{Address, Key, Kind, Namespace};
use sha1::{Digest as _, Sha1};

use crate::connection::Connector;

const FIRST_LINE: &str = "sentinel witness 2";

/// What is known of a store that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) store: String,
    pub(crate) registered_at: u64,
    pub(crate) servers: Vec<String>,
}

/// Where a store is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Location {
    /// The addresses that the URL names.
    pub(crate) hosts: String,
    /// A digest of the database and the prefix.
    pub(crate) name: String,
}

impl Location {
    /// Where a store of this prefix is reached.
    pub(crate) fn of(connector: &Connector, prefix: &str) -> Self {
        let service = match &connector.config.server {
            ServerConfig::Sentinel { service_name, .. } => service_name,
            _ => "",
        };
        let mut hosts: Vec<_> =
            connector.config.server.hosts().iter().map(|one| format!("{}:{}", one.host, one.port)).collect();
        hosts.sort_unstable();
        hosts.extend((!service.is_empty()).then(|| service.to_owned()));
        Self::new(hosts.join(" "), connector.config.database.unwrap_or_default(), prefix)
    }

    /// Where the URL names these hosts, and a store of this database and prefix.
    pub(crate) fn new(hosts: String, database: u8, prefix: &str) -> Self {
        Self { hosts, name: digest(&format!("{database} {prefix}")) }
    }
}

/// A change, and the servers that acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WitnessFile {
    pub(super) known: Known,
    /// Where the store was reached: it names the store where its servers no longer do.
    pub(super) location: Location,
    pub(super) address: Address,
    pub(super) rev: u64,
    pub(super) at: u64,
}

impl WitnessFile {
    /// Writes it to a folder, in the place of an older one. It is not synced, and a failure is not an error: the file
    /// only helps to detect a loss.
    pub(super) fn save(&self, folder: &Path) {
        if let Err(error) = self.write(folder) {
            tracing::debug!(%error, folder = %folder.display(), "the newest acknowledged change could \
                not be written to the witness file");
        }
    }

    /// A reader finds the old file or the new one, never a part.
    fn write(&self, folder: &Path) -> io::Result<()> {
        let file = file_of(folder, &self.known.store);
        let fresh = file.with_extension(format!("{}.new", std::process::id()));
        let create = || {
            let mut options = File::options();
            options.write(true).create(true).truncate(true);
            private(&mut options).open(&fresh)
        };
        let mut open = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(folder)?;
                create()?
            }
            open => open?,
        };
        open.write_all(self.text().as_bytes())?;
        fs::rename(&fresh, &file)
    }

    /// The file of this store. One that cannot be read counts as none.
    pub(super) fn find(folder: &Path, store: &str) -> Option<Self> {
        let text = fs::read_to_string(file_of(folder, store)).ok()?;
        Self::read(&text).filter(|witness| witness.known.store == store)
    }

    /// The newest one of a store of this name at these hosts, or on one of these servers: they no longer know a store.
    pub(super) fn of_location(folder: &Path, location: &Location, servers: &[String]) -> Option<Self> {
        let files = fs::read_dir(folder).ok()?.filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_witness_file = path.extension().is_some_and(|extension| extension == "witness");
            Self::read(&fs::read_to_string(path).ok().filter(|_| is_witness_file)?)
        });
        let is_here = |witness: &Self| {
            let at_one = witness.known.servers.iter().any(|one| servers.contains(one));
            witness.location.name == location.name && (witness.location.hosts == location.hosts || at_one)
        };
        files.filter(is_here).max_by_key(|witness| witness.at)
    }

    /// Removes it: its store is gone, and an operator has accepted that.
    pub(super) fn remove(&self, folder: &Path) {
        if let Err(error) = fs::remove_file(file_of(folder, &self.known.store)) {
            tracing::debug!(%error, folder = %folder.display(), "the note of a store that is gone stays");
        }
    }

    /// A line each: no name holds a line's end.
    fn text(&self) -> String {
        let Known { store, registered_at, servers } = &self.known;
        let Address { namespace, kind, key } = &self.address;
        let (servers, kind) = (servers.join(" "), kind.as_str());
        let Self { location: Location { hosts, name }, rev, at, .. } = self;
        format!(
            "{FIRST_LINE}\n{store}\n{hosts}\n{name}\n{registered_at}\n{servers}\n\
             {namespace}\n{kind}\n{key}\n{rev}\n{at}\n"
        )
    }

    fn read(text: &str) -> Option<Self> {
        let lines = text.strip_suffix('\n')?.split('\n').collect::<Vec<_>>();
        let [FIRST_LINE, store, hosts, name, registered_at, servers, namespace, kind, key, rev, at] =
            lines[..]
        else {
            return None;
        };
        let kind = [Kind::Execution, Kind::Lease].into_iter().find(|known| known.as_str() == kind)?;
        let (namespace, key) = (Namespace::new(namespace).ok()?, Key::new(key).ok()?);
        let known = Known {
            store: store.to_owned(),
            registered_at: registered_at.parse().ok()?,
            servers: servers.split(' ').map(str::to_owned).collect(),
        };
        Some(Self {
            known,
            location: Location { hosts: hosts.to_owned(), name: name.to_owned() },
            address: Address { namespace, kind, key },
            rev: rev.parse().ok()?,
            at: at.parse().ok()?,
        })
    }
}

/// The file's name is a digest: the server chose the store's id, which could hold a path.
fn file_of(folder: &Path, store: &str) -> PathBuf {
    folder.join(format!("redis-{}.witness", digest(store)))
}

fn digest(text: &str) -> String {
    Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// It holds keys, so only the owner may read it.
#[cfg(unix)]
fn private(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    options
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.recursive(true).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(key: &str) -> WitnessFile {
        WitnessFile {
            known: Known { store: "s".into(), registered_at: 7, servers: vec!["a:b".into(), "c:d".into()] },
            location: Location::new("host:1".into(), 0, "sentinel"),
            address: Address::lease(Namespace::new("ns").unwrap(), Key::new(key).unwrap()),
            rev: 3,
            at: 9,
        }
    }

    #[test]
    fn a_witness_file_that_was_written_is_found() {
        let folder = tempfile::TempDir::new().unwrap();
        let inner = folder.path().join("a/b");
        for key in ["k", " a key, with spaces ", "\u{e9}\u{1F980}"] {
            witness(key).save(&inner);
            assert_eq!(WitnessFile::find(&inner, "s"), Some(witness(key)));
        }
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1, "each takes the place of the last");
        assert_eq!(WitnessFile::find(&inner, "another"), None);
        witness("k").save(Path::new("/proc/nowhere"));
    }

    #[test]
    fn a_witness_file_is_found_by_its_location_or_one_of_its_servers() {
        let folder = tempfile::TempDir::new().unwrap();
        let found_of = |location: Location, servers: &[&str]| {
            let servers: Vec<_> = servers.iter().map(|one| (*one).to_owned()).collect();
            WitnessFile::of_location(folder.path(), &location, &servers)
        };
        let found =
            |hosts: &str, servers: &[&str]| found_of(Location::new(hosts.to_owned(), 0, "sentinel"), servers);
        assert_eq!(found("host:1", &["a:b"]), None);
        let mut newer = witness("newer");
        newer.known.store = "another".into();
        newer.at += 1;
        witness("k").save(folder.path());
        fs::write(folder.path().join("a.txt"), newer.text()).unwrap();
        assert_eq!(found("host:1", &[]), Some(witness("k")), "the other file is no note");
        assert_eq!(found("host:2", &["x:y", "c:d"]), Some(witness("k")));
        assert_eq!(found("host:2", &["x:y"]), None);
        for (database, prefix) in [(1, "sentinel"), (0, "other")] {
            let another = Location::new("host:1".into(), database, prefix);
            assert_eq!(found_of(another, &["a:b"]), None, "another store of the same server");
        }
        newer.save(folder.path());
        assert_eq!(found("host:1", &[]), Some(newer.clone()));
        newer.remove(folder.path());
        assert_eq!(found("host:1", &[]), Some(witness("k")));
    }

    #[cfg(unix)]
    #[test]
    fn a_witness_file_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::TempDir::new().unwrap();
        let inner = folder.path().join("a");
        witness("k").save(&inner);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&file_of(&inner, "s"))), (0o700, 0o600));
    }

    #[test]
    fn an_unreadable_witness_file_counts_as_none() {
        let text = witness("k").text();
        assert_eq!(WitnessFile::read(&text), Some(witness("k")));
        for cut in 0..text.len() {
            assert_eq!(WitnessFile::read(&text[..cut]), None, "{:?}", &text[..cut]);
        }
        for (from, to) in [("witness 2", "witness 3"), ("lease", "job"), ("\n3\n", "\nx\n"), ("ns", "N S")] {
            assert_eq!(WitnessFile::read(&text.replacen(from, to, 1)), None, "{to}");
        }
        assert_eq!(WitnessFile::read(&format!("{text}more\n")), None);
    }
}
