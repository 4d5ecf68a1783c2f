//! What every command knows besides its own options, and the environment of the command that it runs.

use sentinel::deployment::Access;
use sentinel::record::{Address, Kind, Label, Token};
use sentinel::{Key, Namespace, Sentinel};

use crate::args::Global;
use crate::exit::CliError;
use crate::output::Style;
use crate::store::{OpenStore, Reader, StoreUrl};

/// The context that every command gets besides its own options.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) url: StoreUrl,
    pub(crate) namespace: Namespace,
    pub(crate) worker: Label,
    /// The name under which decisions are recorded.
    pub(crate) operator: Label,
    pub(crate) style: Style,
}

impl Context {
    /// Reads the global options, else the environment, else the defaults. An empty variable counts as not set.
    pub(super) fn new(global: &Global) -> Result<Self, CliError> {
        let pick = |given: &Option<std::ffi::OsString>, name: &str| {
            let value = given.clone().or_else(|| std::env::var_os(name).filter(|value| !value.is_empty()));
            let utf8 = |_| CliError::usage(format!("{name} or its option is not valid UTF-8"));
            value.map(|value| value.into_string().map_err(utf8)).transpose()
        };
        let url = pick(&global.store, "SENTINEL_STORE")?;
        let namespace = pick(&global.namespace, "SENTINEL_NAMESPACE")?;
        let worker = pick(&global.worker, "SENTINEL_WORKER")?.map(Label::new).transpose()?;
        Ok(Self {
            url: url.map_or_else(StoreUrl::default_file, |url| StoreUrl::parse(&url))?,
            namespace: Namespace::new(namespace.as_deref().unwrap_or("default"))?,
            operator: worker.clone().unwrap_or_else(user_and_host),
            worker: worker.unwrap_or_else(host_and_pid),
            style: if global.json { Style::Json } else { Style::Text },
        })
    }

    pub(crate) fn address(&self, kind: Kind, key: Key) -> Address {
        Address { namespace: self.namespace.clone(), kind, key }
    }

    /// The store, which must exist.
    pub(crate) async fn store(&self) -> Result<OpenStore, CliError> {
        self.url.open(Access::Write).await
    }

    /// The store, whose file is created if it does not exist.
    pub(crate) async fn store_or_new(&self) -> Result<OpenStore, CliError> {
        self.url.open(Access::Create).await
    }

    /// A client of an open store, in this namespace and under this worker's name.
    pub(crate) fn client(&self, store: OpenStore) -> Result<Sentinel, CliError> {
        let sentinel = Sentinel::from_arc(store).namespace(&self.namespace)?.worker(&self.worker)?;
        Ok(sentinel.retry_timeout(self.url.retry_timeout()))
    }

    /// The store for reading only, also after a possible data loss.
    pub(crate) async fn reader(&self) -> Result<Reader, CliError> {
        self.url.open_to_read().await
    }
}

/// The variables that the command gets. `SENTINEL_NAMESPACE` is a default of this program, for the command as for its
/// caller, so it is passed on unchanged.
pub(super) fn environment(
    address: &Address,
    token: Token,
    idempotency_key: String,
) -> Vec<(&'static str, String)> {
    vec![
        ("SENTINEL_KEY_NAMESPACE", address.namespace.to_string()),
        ("SENTINEL_KEY", address.key.to_string()),
        ("SENTINEL_TOKEN", token.to_string()),
        ("SENTINEL_IDEMPOTENCY_KEY", idempotency_key),
    ]
}

fn host_and_pid() -> Label {
    Label::lossy(format!("{}:{}", host(), std::process::id()))
}

/// The user behind `sudo`, else the user; where neither is known, host and pid.
fn user_and_host() -> Label {
    let user = ["SUDO_USER", "USER"].into_iter().find_map(|name| {
        let user = std::env::var_os(name).filter(|user| !user.is_empty())?;
        Some(user.to_string_lossy().into_owned())
    });
    user.map_or_else(host_and_pid, |user| Label::lossy(format!("{user}@{}", host())))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
