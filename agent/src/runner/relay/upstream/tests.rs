use expect_test::{Expect, expect};

use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn check_proxies(cases: &[(&str, &[(&str, &str)])], expected: &Expect) {
    let mut told = String::new();
    for (state, pairs) in cases {
        let found = match proxy(&Url::parse(state).expect("a URL"), &env(pairs)) {
            Ok(Some((url, _))) => url.to_string(),
            Ok(None) => "none".to_owned(),
            Err(why) => why,
        };
        told = format!("{told}{state} {pairs:?}: {found}\n");
    }
    expected.assert_eq(&told);
}

#[test]
fn the_way_is_the_tools_own() {
    let (http, https) = ("http://a.example/state", "https://a.example/state");
    check_proxies(
        &[
            (https, &[]),
            (https, &[("HTTPS_PROXY", "http://p:1"), ("HTTP_PROXY", "http://q:1")]),
            (http, &[("https_proxy", "http://p:1"), ("http_proxy", "q:1")]),
            (https, &[("HTTPS_PROXY", ""), ("https_proxy", "http://small:1")]),
            (https, &[("ALL_PROXY", "http://p:1")]),
            (https, &[("HTTPS_PROXY", "socks5://u:secret@p:1")]),
            ("http://127.0.0.9:1/state", &[("HTTP_PROXY", "http://p:1")]),
            ("http://localhost/state", &[("HTTP_PROXY", "http://p:1")]),
            ("http://[::1]/state", &[("HTTP_PROXY", "http://p:1")]),
        ],
        &expect![[r#"
            https://a.example/state []: none
            https://a.example/state [("HTTPS_PROXY", "http://p:1"), ("HTTP_PROXY", "http://q:1")]: http://p:1/
            http://a.example/state [("https_proxy", "http://p:1"), ("http_proxy", "q:1")]: http://q:1/
            https://a.example/state [("HTTPS_PROXY", ""), ("https_proxy", "http://small:1")]: http://small:1/
            https://a.example/state [("ALL_PROXY", "http://p:1")]: none
            https://a.example/state [("HTTPS_PROXY", "socks5://u:secret@p:1")]: the proxy in HTTPS_PROXY can't be used by it
            http://127.0.0.9:1/state [("HTTP_PROXY", "http://p:1")]: none
            http://localhost/state [("HTTP_PROXY", "http://p:1")]: none
            http://[::1]/state [("HTTP_PROXY", "http://p:1")]: none
        "#]],
    );
}

#[test]
fn without_authorities_there_is_no_client_for_https_and_one_for_http() {
    let empty = tempfile::tempdir().expect("a folder");
    let nothing = empty.path().display().to_string();
    let env = env(&[("SSL_CERT_FILE", "/nowhere.pem"), ("SSL_CERT_DIR", &nothing)]);
    let state = |scheme: &str| Url::parse(&format!("{scheme}://127.0.0.1/state")).expect("a URL");
    assert_eq!(
        Upstream::new(state("https"), &env, None).err().as_deref(),
        Some("there are no CA certificates (SSL_CERT_FILE)")
    );
    assert!(Upstream::new(state("http"), &env, None).is_ok());
}

#[test]
fn what_belongs_to_the_connection_stays_there() {
    let mut headers = HeaderMap::new();
    for name in ["host", "connection", "transfer-encoding", "content-length", "authorization", "content-md5"]
    {
        headers.insert(name, header::HeaderValue::from_static("x"));
    }
    let kept: Vec<String> = end_to_end(&headers).keys().map(ToString::to_string).collect();
    assert_eq!(kept, ["authorization", "content-md5"]);
}
