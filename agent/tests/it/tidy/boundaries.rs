//! Which room may name what: the arrows of ARCHITECTURE.md.

use expect_test::expect;

use super::{File, names, nothing, planted, repository};

/// One line that must not be crossed.
struct Boundary {
    /// Where it holds: paths that begin with one of these.
    within: &'static [&'static str],
    /// Where it does not hold all the same.
    except: &'static [&'static str],
    /// What must not be named there.
    forbidden: &'static [&'static str],
    /// Why, and what to do instead.
    remedy: &'static str,
}

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        within: &["core/", "protocol/src/"],
        except: &[],
        forbidden: &[
            "tokio",
            "kube",
            "reqwest",
            "rand",
            "axum",
            "hyper",
            "Instant",
            "SystemTime",
            "std::env",
            "env::var",
            "fs::read",
            "fs::read_to_string",
            "fs::write",
            "File::open",
            "File::create",
            "OpenOptions",
            "std::net",
            "std::process",
            "thread::spawn",
            "thread::sleep",
        ],
        remedy: "the brains and the words are pure: make it an input or an effect",
    },
    Boundary {
        within: &["fake-scalr/src/state"],
        except: &[],
        forbidden: &[
            "tokio",
            "reqwest",
            "rand",
            "axum",
            "hyper",
            "Instant",
            "SystemTime",
            "Timestamp::now",
            "std::env",
            "env::var",
            "fs::read",
            "fs::read_to_string",
            "fs::write",
            "File::open",
            "File::create",
            "OpenOptions",
            "std::net",
            "std::process",
            "thread::spawn",
            "thread::sleep",
        ],
        remedy: "the state of fake-scalr is pure: tokens, ids and time are inputs, bytes belong to the store",
    },
    Boundary {
        within: &["fake-scalr/"],
        except: &[],
        forbidden: &["scalr_agent", "scalr_core"],
        remedy: "the other end knows the words and nothing else: share a type through protocol/",
    },
    Boundary {
        within: &["core/", "protocol/"],
        except: &[],
        forbidden: &["fake_scalr", "scalr_agent"],
        remedy: "arrows point from the body to the brains to the words, never back",
    },
    Boundary {
        within: &[""],
        except: &[
            "agent/src/cluster",
            "agent/benches/",
            "agent/Cargo.toml",
            "sim/",
            "kind-e2e/",
            "Cargo.toml",
        ],
        forbidden: &["kube", "k8s_openapi"],
        remedy: "Kubernetes is spoken under agent/src/cluster/ only: speak of a Job in `trait Cluster`",
    },
    Boundary {
        within: &["agent/src/"],
        except: &["agent/src/cluster/kube/access.rs"],
        forbidden: &["try_default", "RetryPolicy", "RetryLayer", "default_retry", "incluster", "infer"],
        remedy: "a client that was made elsewhere repeats calls by itself: take `access::connect`",
    },
    Boundary {
        within: &["agent/src/", "fake-scalr/src/"],
        except: &[
            "agent/src/scalr",
            // It must live and die with the tool whose calls it passes on, so it can't be the worker's
            // adapter.
            "agent/src/runner/relay/upstream",
            "agent/src/worker/tools",
            "agent/src/main.rs",
            "fake-scalr/src/client",
        ],
        forbidden: &["reqwest"],
        remedy: "HTTP calls are made by the adapters only: take a `Scalr` or a `TaskApi`",
    },
    Boundary {
        within: &["agent/src/", "fake-scalr/src/"],
        except: &["agent/src/options", "fake-scalr/src/options", "fake-scalr/src/main.rs"],
        forbidden: &[
            "env::var",
            "env::vars",
            "env::var_os",
            "env::vars_os",
            "env::set_var",
            "env::remove_var",
        ],
        remedy: "only the options read the environment: add an option and hand its value on",
    },
];

/// What can name something: code, and the manifests that let it in.
fn is_code(file: &File) -> bool {
    file.is_rust() || file.path.ends_with("Cargo.toml")
}

/// A line of a manifest without its comment, and with packages as code names them.
fn dependency(line: &str) -> String {
    line.split('#').next().unwrap_or_default().replace('-', "_")
}

fn breaches(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| is_code(file) && !file.path.starts_with("agent/tests/it/tidy")) {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| file.path.starts_with(prefix));
        for boundary in BOUNDARIES.iter().filter(|b| begins(b.within) && !begins(b.except)) {
            for (number, line) in file.code() {
                let line = if file.is_rust() { line.to_owned() } else { dependency(line) };
                for word in boundary.forbidden.iter().filter(|word| names(&line, word)) {
                    found.push(file.breach(number, format!("names `{word}`: {}", boundary.remedy)));
                }
            }
        }
    }
    found
}

#[test]
fn every_room_names_only_what_it_may() {
    nothing(&breaches(&repository()));
}

#[test]
fn the_client_of_the_cluster_repeats_no_call_by_itself() {
    let files = repository();
    let access = files.iter().find(|file| file.path == "agent/src/cluster/kube/access.rs");
    let turns_off = |(_, line): (usize, &str)| line.trim() == "config.default_retry = false;";
    assert!(
        access.is_some_and(|file| file.code().any(turns_off)),
        "retries are decided in the brains: turn them off"
    );
}

#[test]
fn the_boundaries_bite() {
    let check = |path: &str, text: &str| breaches(&planted(path, text)).join("\n");
    expect![
        "core/src/a.rs:2: names `tokio`: the brains and the words are pure: make it an input or an effect"
    ]
    .assert_eq(&check("core/src/a.rs", "// tokio is not here\nuse tokio::time;\n"));
    expect![
        "core/Cargo.toml:1: names `rand`: the brains and the words are pure: make it an input or an effect"
    ]
    .assert_eq(&check("core/Cargo.toml", "rand.workspace = true # rand\nstrand = 1\n"));
    expect!["fake-scalr/src/state/tasks.rs:1: names `Timestamp::now`: the state of fake-scalr is pure: tokens, ids and time are inputs, bytes belong to the store"]
        .assert_eq(&check("fake-scalr/src/state/tasks.rs", "let now = jiff::Timestamp::now();\n"));
    expect!["agent/src/worker.rs:1: names `reqwest`: HTTP calls are made by the adapters only: take a `Scalr` or a `TaskApi`"]
        .assert_eq(&check("agent/src/worker.rs", "use reqwest::Client;\n"));
    expect!["fake-scalr/Cargo.toml:1: names `scalr_core`: the other end knows the words and nothing else: share a type through protocol/"]
        .assert_eq(&check("fake-scalr/Cargo.toml", "scalr-core.workspace = true\n"));
    expect!["agent/src/worker.rs:1: names `try_default`: a client that was made elsewhere repeats calls by itself: take `access::connect`"]
        .assert_eq(&check("agent/src/worker.rs", "let client = Client::try_default().await;\n"));
    expect![""].assert_eq(&check("agent/src/scalr/http.rs", "use reqwest::Client;\n"));
    expect!["agent/src/runner.rs:1: names `env::var`: only the options read the environment: add an option and hand its value on"]
        .assert_eq(&check("agent/src/runner.rs", "let home = std::env::var(\"HOME\");\n"));
}
