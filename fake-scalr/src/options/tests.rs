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
        "submit --token t",
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
        assert!(!line.contains('\n'), "{line}");
        writeln!(report, "{words}\n    {line}").unwrap();
    }
    expect![[""]].assert_eq(&report);
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
    expect![[""]].assert_debug_eq(&serve.tools);
}
