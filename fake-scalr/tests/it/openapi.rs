//! The `OpenAPI` document says what the router does.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use fake_scalr::server::ROUTES;
use scalr_protocol::MEDIA_TYPE;
use serde_json::Value;

use crate::fixture::{Fake, USER};

#[tokio::test]
async fn every_operation_is_a_route_that_the_router_has() {
    let fake = Fake::new();
    let document = fake.get("/openapi.json", "").await.json();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let others = item.get("additionalOperations").and_then(Value::as_object);
        let known = item.as_object().unwrap().iter().filter(|(method, _)| *method != "additionalOperations");
        for (method, operation) in known.chain(others.into_iter().flatten()) {
            let method = method.to_uppercase();
            let filled: Vec<_> =
                path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            let filled = filled.join("/");
            let answer = fake.call(&method, &filled, "", &[("content-type", MEDIA_TYPE)], "").await;
            let line = answer.line();
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert!(!line.contains("there is no `/"), "{method} {path}: {line}");
            names.insert(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(names.len(), ROUTES.len(), "every route has a name of its own");
    assert!(ROUTES.iter().all(|route| names.contains(route.name)));
}

#[tokio::test]
async fn the_page_is_there_and_brings_all_it_needs() {
    let fake = Fake::new();
    let page = fake.get("/", "").await;
    assert_eq!(page.status, StatusCode::OK);
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!text.contains("http://") && !text.contains("https://"), "it asks nobody else");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
}

#[tokio::test]
async fn inspect_shows_the_state_to_people_only() {
    let fake = Fake::new();
    fake.workspace("demo").await;
    let inspected = fake.get("/fake/inspect", USER).await.json();
    assert!(inspected["workspace_names"]["demo"].is_string(), "{inspected}");
    assert_eq!(fake.get("/fake/inspect", "other").await.status, StatusCode::UNAUTHORIZED);
}
