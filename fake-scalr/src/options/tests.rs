#![expect(
    clippy::needless_raw_string_hashes,
    clippy::too_many_lines,
    reason = "a table and its report, as expect-test writes it"
)]

use std::fmt::Write as _;

use expect_test::expect;

use super::*;

fn mistake(words: &str) -> String {
    match Options::of_words(std::iter::once("fake-scalr").chain(words.split(' ').filter(|w| !w.is_empty()))) {
        Err(NotRun::Mistake(line)) => line,
        Err(NotRun::Asked(_)) => "(help)".to_owned(),
        Ok(_) => "(fine)".to_owned(),
    }
}

#[test]
fn every_mistake_is_one_line_with_the_value_the_place_and_the_remedy() {
    let mut report = String::new();
    for words in [
        "",
        "serv",
        "serve --lost-after 30",
        "serve --lost-after 0s",
        "serve --listen localhost",
        "serve --url ftp://x",
        "serve --tool terraform",
        "serve --tool pulumi@1",
        "serve --tool terraform@1.15.5=https://example.com/t.zip#12",
        "serve --tool terraform@1.15.5=https://example.com/t.zip",
        "serve --agent-token ",
        "serve --frobnicate",
        "serve --user-token s%e\u{e9}cret",
        "submit --token t",
        "submit dir --token s\u{e9}cret",
        "submit dir --token t --sensitive-var 1a=secret",
        "submit dir --token t --sensitive-env secret",
        "submit dir --token t --var a",
        "submit dir --token t --var 1a=b",
        "submit dir --token t --env a-b=c",
        "submit dir --token t --working-directory ../x",
        "submit dir --token t --var-file /etc/passwd",
        "submit dir --token t --hook after=true",
        "submit dir --token t --hook pre-plan=",
        "submit dir --token t --timeout 90s",
        "submit dir --token t --url nowhere",
        "approve --token t",
        "approve run/1 --token t",
        "approve run-1 --token t --json",
        "cancel run-1 run-2 --token t",
    ] {
        let line = mistake(words);
        assert!(!line.contains('\n') && !line.contains("cret"), "{line}");
        writeln!(report, "{words}\n    {line}").unwrap();
    }
    expect![[r#"

            no command was given; `fake-scalr --help` lists them
        serv
            unrecognized subcommand 'serv'; `--help` tells what is possible
        serve --lost-after 30
            invalid value '30' for '--lost-after <DURATION>': expected a number and ms, s, m or h, such as 30s or 5m; `--help` tells what is possible
        serve --lost-after 0s
            invalid value '0s' for '--lost-after <DURATION>': expected more than 0; `--help` tells what is possible
        serve --listen localhost
            invalid value 'localhost' for '--listen <LISTEN>': expected ADDRESS:PORT, such as 127.0.0.1:8010; `--help` tells what is possible
        serve --url ftp://x
            invalid value 'ftp://x' for '--url <URL>': expected http:// or https:// and a host; `--help` tells what is possible
        serve --tool terraform
            invalid value 'terraform' for '--tool <NAME@VERSION[=URL#SHA256]>': expected NAME@VERSION or NAME@VERSION=URL#SHA256; `--help` tells what is possible
        serve --tool pulumi@1
            invalid value 'pulumi@1' for '--tool <NAME@VERSION[=URL#SHA256]>': `pulumi` is no tool: expected terraform or tofu; `--help` tells what is possible
        serve --tool terraform@1.15.5=https://example.com/t.zip#12
            invalid value 'terraform@1.15.5=https://example.com/t.zip#12' for '--tool <NAME@VERSION[=URL#SHA256]>': not a SHA-256: expected 64 hexadecimal digits, or `sha-256=:<base64>:` in a header; `--help` tells what is possible
        serve --tool terraform@1.15.5=https://example.com/t.zip
            invalid value 'terraform@1.15.5=https://example.com/t.zip' for '--tool <NAME@VERSION[=URL#SHA256]>': expected NAME@VERSION or NAME@VERSION=URL#SHA256; `--help` tells what is possible
        serve --agent-token 
            a value is required for '--agent-token <AGENT_TOKEN>' but none was supplied; `--help` tells what is possible
        serve --frobnicate
            unexpected argument '--frobnicate' found; `--help` tells what is possible
        serve --user-token s%eécret
            invalid value for '--user-token <USER_TOKEN>': a token has no blanks and is not empty; `--help` tells what is possible
        submit --token t
            the following required arguments were not provided: <DIR>; `--help` tells what is possible
        submit dir --token sécret
            invalid value for '--token <TOKEN>': a token has no blanks and is not empty; `--help` tells what is possible
        submit dir --token t --sensitive-var 1a=secret
            invalid value for '--sensitive-var <KEY=VALUE>': `1a` is no name of a variable: expected letters, digits and '_', no digit first; `--help` tells what is possible
        submit dir --token t --sensitive-env secret
            invalid value for '--sensitive-env <KEY=VALUE>': expected KEY=VALUE; `--help` tells what is possible
        submit dir --token t --var a
            invalid value 'a' for '--var <KEY=VALUE>': expected KEY=VALUE; `--help` tells what is possible
        submit dir --token t --var 1a=b
            invalid value '1a=b' for '--var <KEY=VALUE>': `1a` is no name of a variable: expected letters, digits and '_', no digit first; `--help` tells what is possible
        submit dir --token t --env a-b=c
            invalid value 'a-b=c' for '--env <KEY=VALUE>': `a-b` is no name of a variable: expected letters, digits and '_', no digit first; `--help` tells what is possible
        submit dir --token t --working-directory ../x
            invalid value '../x' for '--working-directory <PATH>': expected a relative path without `..`; `--help` tells what is possible
        submit dir --token t --var-file /etc/passwd
            invalid value '/etc/passwd' for '--var-file <PATH>': expected a relative path without `..`; `--help` tells what is possible
        submit dir --token t --hook after=true
            invalid value 'after=true' for '--hook <PHASE=COMMAND>': `after` is no phase: expected pre-init, pre-plan, post-plan, pre-apply, post-apply; `--help` tells what is possible
        submit dir --token t --hook pre-plan=
            invalid value 'pre-plan=' for '--hook <PHASE=COMMAND>': the command is empty; `--help` tells what is possible
        submit dir --token t --timeout 90s
            invalid value '90s' for '--timeout <DURATION>': expected whole minutes, such as 10m; `--help` tells what is possible
        submit dir --token t --url nowhere
            invalid value 'nowhere' for '--url <URL>': relative URL without a base; expected such as http://127.0.0.1:8010; `--help` tells what is possible
        approve --token t
            the following required arguments were not provided: <RUN>; `--help` tells what is possible
        approve run/1 --token t
            invalid value 'run/1' for '<RUN>': `run/1` is no run id: an id has 1 to 128 letters, digits, '-', '_' or '.'; `--help` tells what is possible
        approve run-1 --token t --json
            unexpected argument '--json' found; `--help` tells what is possible
        cancel run-1 run-2 --token t
            unexpected argument 'run-2' found; `--help` tells what is possible
    "#]].assert_eq(&report);
}

#[test]
fn help_is_no_mistake() {
    assert_eq!([mistake("--help"), mistake("submit --help"), mistake("--version")], ["(help)"; 3]);
}

#[test]
fn a_tool_may_say_where_its_zip_is() {
    let digest = "0".repeat(64);
    let words = ["fake-scalr", "serve", "--tool", &format!("tofu@1.10.0=https://example.com/t.zip#{digest}")];
    let Ok(Options { command: Command::Serve(serve), .. }) = Options::of_words(words) else {
        panic!("not serve")
    };
    expect![[r#"
        [
            Tool {
                name: "tofu",
                version: "1.10.0",
                url: Some(
                    "https://example.com/t.zip",
                ),
                sha256: Some(
                    sha256:0000000000000000000000000000000000000000000000000000000000000000,
                ),
            },
        ]
    "#]]
    .assert_debug_eq(&serve.tools);
}
