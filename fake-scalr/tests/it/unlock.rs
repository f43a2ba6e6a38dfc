//! `unlock`, while somebody works and after.

use expect_test::expect;
use serde_json::json;

use crate::{
    commands::timeless,
    durability::binary,
    fixture::{Fake, USER},
};

/// The text with every number of seconds as `N`.
fn ageless(text: &str) -> String {
    let piece = |piece: &str| match piece.split_once(" s ago") {
        Some((_, rest)) => format!("N s ago{rest}"),
        None => piece.to_owned(),
    };
    text.split("last seen ").map(piece).collect::<Vec<_>>().join("last seen ")
}

#[tokio::test]
async fn a_task_that_runs_keeps_the_lock_of_its_state_unless_it_is_forced() {
    let fake = Fake::new();
    let url = fake.listen().await;
    let at = fake.started().await;
    let lock = async |id: &str| {
        let headers = [("content-type", "application/json")];
        let info =
            json!({"ID": id, "Operation": "OperationTypeApply", "Who": "me@worker", "Version": "1.15.5"});
        let answer = fake.call("LOCK", &at.state_path(), &at.run_token, &headers, info.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.line());
    };
    let mut report = String::new();
    let mut told = async |words: &[&str]| {
        let mut command = binary();
        command.args(words).env("SCALR_URL", &url).env("SCALR_TOKEN", USER);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| ageless(&timeless(&at.tidied(&String::from_utf8(bytes).unwrap())));
        report += &format!("$ {}\n{}\n", words.join(" "), output.status);
        report += &format!("{}{}", text(output.stdout), text(output.stderr));
    };
    lock("1").await;
    told(&["lock", "demo", "--reason", "a freeze"]).await;
    told(&["unlock", "demo"]).await;
    told(&["unlock", "demo"]).await;
    told(&["unlock", "demo", "--force"]).await;
    lock("2").await;
    let finish = json!({"fence": at.fence, "outcome": "failed", "log": {"bytes": 0, "sha256": EMPTY}});
    let path = format!("agent-tasks/{}/finish", at.task);
    fake.said("POST", path, at.token.clone(), "agent-task-finishes", finish).await;
    told(&["unlock", "demo"]).await;
    expect![[r#"
        $ lock demo --reason a freeze
        exit status: 0
        workspace demo is locked
        $ unlock demo
        exit status: 1
        workspace demo is unlocked; user had locked it at TIME, because: a freeze
        fake-scalr: not possible in this state: me@worker holds the state for RUN, which is planning and was last seen N s ago: end it with `fake-scalr cancel RUN`, or take the lock all the same with `unlock --force`
        $ unlock demo
        exit status: 1
        fake-scalr: not possible in this state: me@worker holds the state for RUN, which is planning and was last seen N s ago: end it with `fake-scalr cancel RUN`, or take the lock all the same with `unlock --force`
        $ unlock demo --force
        exit status: 0
        the state of workspace demo is unlocked; me@worker held it for run RUN (OperationTypeApply) since TIME, and was last seen at TIME: taken by force, its run goes on
        $ unlock demo
        exit status: 0
        the state of workspace demo is unlocked; me@worker held it for run RUN (OperationTypeApply) since TIME, and was last seen at TIME
    "#]].assert_eq(&report);
}

/// The SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
