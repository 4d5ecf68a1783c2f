//! What every command knows besides its own options, and the environment of the command that it runs.

use sentinel::admin::command_line::{self, Arg, key_arg};
use sentinel::deployment::Access;
use sentinel::record::{Address, Cause, Kind, Label, Token};
use sentinel::store::Invalid;
use sentinel::{Key, Namespace, Sentinel};

use crate::args::Global;
use crate::exit::CliError;
use crate::output::{Style, note};
use crate::store::{OpenStore, Reader, StoreUrl};

/// The context that every command gets besides its own options.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) url: StoreUrl,
    pub(crate) namespace: Namespace,
    pub(crate) worker: Label,
    /// The name under which decisions are recorded.
    pub(crate) operator: Label,
    pub(crate) style: Style,
    /// The global options that a command line about the same store and namespace needs. What the environment set is not
    /// repeated, and no password is.
    pub(crate) global: Vec<String>,
    /// How many of these words name the store.
    store_words: usize,
}

impl Context {
    /// Reads the global options, else the environment, else the defaults. An empty variable counts as not set.
    pub(super) fn new(global: &Global) -> Result<Self, CliError> {
        let pick = |given: &Option<std::ffi::OsString>, name: &str| {
            let value = given.clone().or_else(|| std::env::var_os(name).filter(|value| !value.is_empty()));
            let utf8 = |_| CliError::usage(format!("{name} or its option is not valid UTF-8"));
            value.map(|value| value.into_string().map_err(utf8)).transpose()
        };
        if global.store.len() > 1 {
            return Err(CliError::usage(
                "--store was given several times; only `because` reads several stores",
            ));
        }
        let url = pick(&global.store.first().cloned(), "SENTINEL_STORE")?;
        let namespace = pick(&global.namespace, "SENTINEL_NAMESPACE")?;
        let worker = pick(&global.worker, "SENTINEL_WORKER")?.map(Label::new).transpose()?;
        let given = url.clone().filter(|_| !global.store.is_empty());
        let url = url.map_or_else(StoreUrl::default_file, |url| StoreUrl::parse(&url))?;
        let mut words =
            given.map_or_else(Vec::new, |given| vec!["--store".to_owned(), url.repeatable(&given)]);
        let store_words = words.len();
        if let Some(namespace) = namespace.as_ref().filter(|_| global.namespace.is_some()) {
            words.extend(["--namespace".to_owned(), namespace.clone()]);
        }
        Ok(Self {
            url,
            global: words,
            store_words,
            namespace: Namespace::new(namespace.as_deref().unwrap_or("default"))?,
            operator: worker.clone().unwrap_or_else(user_and_host),
            worker: worker.unwrap_or_else(host_and_pid),
            style: Style::of(global),
        })
    }

    /// The words that name the store in a command line.
    pub(crate) fn store_words(&self) -> &[String] {
        &self.global[..self.store_words]
    }

    /// A command line of this program about the same store and namespace. The second word is a key.
    pub(crate) fn command(&self, name: &str, key: &Key, rest: &[Arg]) -> String {
        let mut command = vec![Arg::word("sentinel"), Arg::word(name), key_arg(key.as_str())];
        command.extend_from_slice(rest);
        command_line::line(&command, &self.global)
    }

    /// The error, with the store in the commands that it names.
    fn complete(&self, error: CliError) -> CliError {
        let command = |name| {
            let store = self.store_words().iter().map(|word| Arg::word(word.as_str()));
            let words: Vec<Arg> = ["sentinel", name].map(Arg::word).into_iter().chain(store).collect();
            command_line::line(&words, &[])
        };
        let message = ["init", "doctor"].into_iter().fold(error.message, |message, name| {
            message.replace(&format!("`sentinel {name}`"), &format!("`{}`", command(name)))
        });
        CliError { message, ..error }
    }

    pub(crate) fn address(&self, kind: Kind, key: Key) -> Address {
        Address { namespace: self.namespace.clone(), kind, key }
    }

    /// The store, which must exist.
    pub(crate) async fn store(&self) -> Result<OpenStore, CliError> {
        self.url.open(Access::Write).await.map_err(|error| self.complete(error))
    }

    /// The store, whose file is created if it does not exist.
    pub(crate) async fn store_or_new(&self) -> Result<OpenStore, CliError> {
        self.url.open(Access::Create).await.map_err(|error| self.complete(error))
    }

    /// A client of an open store, in this namespace and under this worker's name.
    pub(crate) fn client(&self, store: OpenStore) -> Result<Sentinel, CliError> {
        let sentinel = Sentinel::from_arc(store).namespace(&self.namespace)?.worker(&self.worker)?;
        Ok(sentinel.retry_timeout(self.url.retry_timeout()))
    }

    /// The store for reading only, also after a possible data loss.
    pub(crate) async fn reader(&self) -> Result<Reader, CliError> {
        self.url.open_to_read().await.map_err(|error| self.complete(error))
    }
}

/// The variables that the command gets. `SENTINEL_NAMESPACE` is a default of this program, for the command as for its
/// caller, so it is passed on unchanged.
pub(super) fn environment(
    address: &Address,
    token: Token,
    idempotency_key: String,
    cause: Result<Option<Cause>, Invalid>,
) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("SENTINEL_KEY_NAMESPACE", address.namespace.to_string()),
        ("SENTINEL_KEY", address.key.to_string()),
        ("SENTINEL_TOKEN", token.to_string()),
        ("SENTINEL_IDEMPOTENCY_KEY", idempotency_key),
    ];
    match cause {
        Ok(Some(cause)) => variables.push((CAUSE, cause.to_header())),
        // The command must not take the cause of this program for that of its own run.
        Ok(None) | Err(_) if std::env::var_os(CAUSE).is_some() => variables.push((CAUSE, String::new())),
        Ok(None) | Err(_) => {}
    }
    variables
}

/// Where a command finds the cause of the claims that it makes, in the form of the header `Sentinel-Cause`.
const CAUSE: &str = "SENTINEL_CAUSE";

/// The cause that the environment passes on. A cause decides nothing, so a value that is none is ignored, with a note.
pub(super) fn inherited_cause() -> Option<Cause> {
    let value = std::env::var_os(CAUSE).filter(|value| !value.is_empty())?;
    let cause = match value.to_str() {
        Some(header) => Cause::from_header(header, None).map_err(|invalid| invalid.to_string()),
        None => Err("it is not valid UTF-8".to_owned()),
    };
    cause.inspect_err(|why| note(&format!("{CAUSE} is ignored: {why}"))).ok()
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
