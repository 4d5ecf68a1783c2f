//! The hosts that get fences, and whose word about an effect is trusted.

use reqwest::Url;

/// A listed host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// As in a URL: in lower case, an IPv6 address in brackets.
    name: String,
    /// None: any port.
    port: Option<u16>,
    /// The name that the host's verifier of fences has.
    pub(super) audience: String,
}

impl Host {
    /// Panics if the text is not `name` or `name:port`.
    pub(super) fn new(text: &str, audience: String) -> Self {
        let host = Self::parse(text, audience);
        host.unwrap_or_else(|| panic!("a listed host must be `name` or `name:port`, is {text:?}"))
    }

    fn parse(text: &str, audience: String) -> Option<Self> {
        // Only a name and a port leave no other part in the URL. `ftp` has a default port that no one means here.
        let url = Url::parse(&format!("ftp://{text}/")).ok()?;
        let is_host = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_bare =
            is_host && url.username().is_empty() && url.password().is_none() && !text.contains(['/', '@']);
        // A URL of a scheme that is not special keeps the case of its host; this one does not.
        let name = url.host_str().filter(|name| is_bare && !name.is_empty())?.to_owned();
        let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if has_port { url.port_or_known_default() } else { None };
        Some(Self { name, port, audience })
    }

    fn is(&self, url: &Url) -> bool {
        let is_named = url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(&self.name));
        is_named && (self.port.is_none() || self.port == url.port_or_known_default())
    }
}

/// The listed host of a URL; None: it is not listed.
pub(super) fn listed<'a>(hosts: &'a [Host], url: &Url) -> Option<&'a Host> {
    hosts.iter().find(|host| host.is(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_listed(host: &str, url: &str) -> bool {
        listed(&[Host::new(host, host.into())], &Url::parse(url).unwrap()).is_some()
    }

    #[test]
    fn a_host_is_listed_by_its_whole_name() {
        for url in ["https://ledger.internal/x", "http://ledger.internal:8080/", "https://LEDGER.internal/"] {
            assert!(is_listed("ledger.internal", url) && is_listed("Ledger.Internal", url), "{url}");
        }
        for url in [
            "https://evil.example/ledger.internal",
            "https://ledger.internal.evil.example/",
            "https://ledger.internal@evil.example/",
            "https://xledger.internal/",
            "https://internal/",
            "https://ledger.internal./",
        ] {
            assert!(!is_listed("ledger.internal", url), "{url}");
        }
    }

    #[test]
    fn a_port_is_compared_where_one_is_listed() {
        assert!(
            is_listed("ledger:443", "https://ledger/") && is_listed("ledger:8080", "http://ledger:8080/")
        );
        assert!(!is_listed("ledger:8080", "https://ledger/") && !is_listed("ledger:80", "https://ledger/"));
        assert!(is_listed("ledger:21", "http://ledger:21/") && !is_listed("ledger:21", "http://ledger/"));
        assert!(is_listed("[::1]", "http://[::1]:9/") && is_listed("[::1]:9", "http://[::1]:9/"));
        assert!(!is_listed("[::1]:9", "http://[::1]:8/") && is_listed("127.0.0.1:9", "http://127.0.0.1:9/"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in
            ["", "https://ledger", "ledger/x", "a@b", "ledger?x", "ledger#x", "a b", ":80", "ledger:x", "/"]
        {
            assert_eq!(Host::parse(text, String::new()), None, "{text}");
        }
    }
}
