//! H29: the status route.

use http::{Method, Response};
use sentinel_http::Body;

use crate::harness::{Bed, Handler, on_every_store, request, text};

on_every_store! {
    answers_of_the_status_route_are_never_stored_and_show_nothing_of_others
}

pub(crate) async fn answers_of_the_status_route_are_never_stored_and_show_nothing_of_others(bed: Bed) {
    let handler = Handler::new(async |_, _| -> Response<Body> {
        let mut response = text(200, "of acme");
        response.headers_mut().insert("cache-control", "public, max-age=3600".parse().unwrap());
        response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
        response
    });
    let app = bed.app(bed.layer(), &handler);
    app.post("\"a b+c/d\"", "").await;
    let get = |method, query: &str, tenant| {
        request(method, &format!("/requests?{query}"), &[("x-tenant", tenant)], "")
    };
    let got = app.call(get(Method::GET, "key=a+b%2Bc%2Fd", "acme")).await;
    assert_eq!((got.status, got.text(), got.is_replay()), (200, "of acme", true));
    assert_eq!((got.header("cache-control"), got.header("etag")), (Some("no-store"), None));
    let head = app.call(get(Method::HEAD, "key=a+b%2Bc%2Fd", "acme")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let absent = app.call(get(Method::GET, "key=absent", "acme")).await;
    let foreign = app.call(get(Method::GET, "key=a+b%2Bc%2Fd", "other")).await;
    absent.assert_problem(404, "unknown-key");
    assert_eq!(absent, foreign);
    for query in ["", "key=", "key=a&key=b", "other=a"] {
        app.call(get(Method::GET, query, "acme")).await.assert_problem(400, "key-malformed");
    }
    app.call(request(Method::GET, "/requests?key=a", &[], "")).await.assert_problem(403, "scope-missing");
    let posted = app.call(get(Method::POST, "key=absent", "acme")).await;
    assert_eq!(posted.status, 405);
    assert_eq!(handler.calls(), 1);
}
