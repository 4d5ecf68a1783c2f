//! Whether a client follows redirects: then it would send the key of a request to another host.

use std::mem::take;

use reqwest::redirect::Policy;
use reqwest_middleware::{ClientWithMiddleware, RequestBuilder};

/// The builder, and whether its client may follow redirects.
pub(super) fn may_follow(mut builder: RequestBuilder) -> (RequestBuilder, bool) {
    // A builder shows its client only when it is taken apart.
    if let Some(copy) = builder.try_clone() {
        let (client, _) = copy.build_split();
        return (builder, client_may_follow(&client));
    }
    // Its body is a stream, which has no copy.
    let extensions = take(builder.extensions());
    let (client, request) = builder.build_split();
    let may_follow = client_may_follow(&client);
    let mut builder = match request {
        Ok(request) => RequestBuilder::from_parts(client, request),
        Err(error) => {
            tracing::debug!(%error, "a request is invalid");
            // No URL: it fails before anything is sent, as the one that it replaces would.
            client.get("")
        }
    };
    *builder.extensions() = extensions;
    (builder, may_follow)
}

/// A client shows its policy in its `Debug` output only, unless it is the default one, which follows redirects. Text
/// of a user cannot have this form, because its quotes are escaped.
fn client_may_follow(client: &ClientWithMiddleware) -> bool {
    let none = format!("redirect_policy: {:?}", format!("{:?}", Policy::none()));
    let client: &reqwest::Client = client.as_ref();
    !format!("{client:?}").contains(&none)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use reqwest::Client;

    use super::*;

    fn follows(client: reqwest::ClientBuilder) -> bool {
        client_may_follow(&client.build().unwrap().into())
    }

    #[test]
    fn only_a_client_without_a_policy_is_accepted() {
        assert!(!follows(Client::builder().redirect(Policy::none())));
        assert!(follows(Client::builder()));
        assert!(follows(Client::builder().redirect(Policy::limited(1))));
        assert!(follows(Client::builder().redirect(Policy::custom(|attempt| attempt.stop()))));
    }

    #[test]
    fn text_of_a_user_is_not_taken_for_the_policy() {
        let text = HeaderValue::from_static("redirect_policy: \"Policy(None)\"");
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-text"), text)]);
        assert!(follows(Client::builder().default_headers(headers)));
    }
}
