//! The status page: one file, no build, no dependency. It asks the public API with a token that is typed in.

use axum::response::{Html, IntoResponse};

pub(super) async fn show() -> impl IntoResponse {
    ([("content-security-policy", POLICY)], Html(include_str!("page.html")))
}

/// Only what the page itself brings.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; form-action 'none'; frame-ancestors 'none'";
