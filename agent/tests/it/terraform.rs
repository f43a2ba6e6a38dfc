//! What only the real tool can say: that it understands what the worker prepares for it.
//!
//! The tool comes from `TERRAFORM`, from `.tools/bin` of the workspace, or from `PATH`; without one these
//! tests fail.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command as Process,
    sync::{Arc, Mutex},
};

use scalr_agent::worker::{
    beneath::Folder,
    commands::{Command, Commands, ERRORED_STATE, Lock, PLAN_FILE, WorkingDirectory},
    declared,
    environment::{Environment, Operation, Surroundings, environment},
    paths::RunPaths,
    plan_json,
    uploads::Upload,
    variables,
};
use scalr_protocol::{
    blob::BlobKind,
    secret::Secret,
    task::{Payload, RunMode, Summary},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

const TOKEN: &str = "run-token-0123456789";

/// The real tool.
#[expect(clippy::disallowed_methods, reason = "tests have no options to read their surroundings for them")]
fn tool() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let named = std::env::var_os("TERRAFORM").map(PathBuf::from);
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&in_path).map(|folder| folder.join("terraform"));
    let found = named.into_iter().chain([workspace.join(".tools/bin/terraform")]).chain(in_path);
    found.into_iter().find(|path| path.is_file()).expect(
        "no terraform: name one in TERRAFORM, put it into PATH, or let `./dev test` install it in .tools/bin",
    )
}

/// A workspace's state at the other end: keeps what is posted, unless it is told to refuse.
#[derive(Clone, Default)]
struct State {
    kept: Arc<Mutex<Option<Vec<u8>>>>,
    refuses: Arc<Mutex<bool>>,
}

impl State {
    fn answer(&self, request: &Request) -> ResponseTemplate {
        let mut kept = self.kept.lock().unwrap();
        match (request.method.as_str(), kept.as_ref()) {
            ("GET", None) => ResponseTemplate::new(404),
            ("GET", Some(state)) => ResponseTemplate::new(200).set_body_bytes(state.clone()),
            ("POST", _) if *self.refuses.lock().unwrap() => ResponseTemplate::new(413),
            ("POST", _) => {
                *kept = Some(request.body.clone());
                ResponseTemplate::new(200)
            }
            _ => ResponseTemplate::new(200),
        }
    }

    fn outputs(&self) -> Value {
        let kept = self.kept.lock().unwrap();
        let state: Value = serde_json::from_slice(kept.as_ref().expect("a state was posted")).unwrap();
        state["outputs"].clone()
    }

    fn refuse(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }
}

/// One run of a workspace, with everything as the worker does it but the runner between.
struct Rig {
    folder: TempDir,
    paths: RunPaths,
    payload: Payload,
    state: State,
    server: MockServer,
}

impl Rig {
    async fn new(payload: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = RunPaths::local(&folder.path().join("run"), &folder.path().join("cache"));
        let mut all = json!({
            "task": "atask-1", "action": "plan",
            "run": {"id": "run-1", "is-destroy": false, "is-dry": false, "mode": "apply", "source": "cli"},
            "workspace": {"id": "ws-1", "name": "w"}, "environment": {"id": "env-1", "name": "e"},
            "account": {"id": "acc-1", "name": "a"}, "tool": {"name": "terraform", "version": "1"},
            "timeouts": {"operation-ms": 1},
        });
        merge(&mut all, payload);
        let state = State::default();
        let server = MockServer::start().await;
        let answers = state.clone();
        Mock::given(any())
            .respond_with(move |request: &Request| answers.answer(request))
            .mount(&server)
            .await;
        let rig = Self { folder, paths, payload: serde_json::from_value(all).unwrap(), state, server };
        rig.start_afresh();
        rig
    }

    /// As the next task of the run finds it: nothing.
    fn start_afresh(&self) {
        let side = &self.paths.worker;
        for part in [&side.config, &side.data, &side.providers, &side.tmp] {
            if part.exists() {
                Folder::open(part).unwrap().remove_all(100_000).unwrap();
            }
            fs::create_dir_all(part).unwrap();
        }
        fs::write(side.data.join("cli.tfrc"), "").unwrap();
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.paths.worker.config.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn config(&self) -> Folder {
        Folder::open(&self.paths.worker.config).unwrap()
    }

    fn directory(&self) -> WorkingDirectory {
        WorkingDirectory::find(&self.config(), &self.payload.workspace).unwrap()
    }

    fn commands(&self) -> Commands {
        Commands::new(&tool(), &self.paths, &self.directory())
    }

    fn prepare(&self) -> Vec<&'static str> {
        let (config, directory) = (self.config(), self.directory());
        directory.check_var_files(&config, &self.payload.workspace).unwrap();
        self.variables().write(&config, directory.path()).unwrap();
        directory.prepare(&config).unwrap()
    }

    fn variables(&self) -> variables::Variables {
        let declared = declared::variables(&self.config(), self.directory().path()).unwrap();
        variables::sort(&self.payload.variables, &declared).unwrap()
    }

    fn environment(&self, operation: Operation) -> Environment {
        let tool = tool();
        let surroundings = Surroundings {
            payload: &self.payload,
            hostname: "127.0.0.1",
            state_address: &format!("{}/state", self.server.uri()),
            run_token: &Secret::new(TOKEN),
            paths: &self.paths,
            tool_folder: tool.parent().unwrap(),
            cli_config: &self.paths.runner.data.join("cli.tfrc"),
            inherited: &BTreeMap::new(),
        };
        let declared = declared::variables(&self.config(), self.directory().path()).unwrap();
        environment(&surroundings, operation, &self.variables(), &declared).unwrap()
    }

    /// Runs a command to its end; its exit code and its output, both streams as one.
    async fn run(&self, command: Command, environment: Environment) -> (i32, String) {
        let ended = tokio::task::spawn_blocking(move || {
            let [program, arguments @ ..] = command.argv.as_slice() else { panic!("no program") };
            let mut process = Process::new(program);
            process.args(arguments).env_clear().envs(environment.into_map()).current_dir(command.cwd);
            process.output().unwrap()
        });
        let ended = ended.await.unwrap();
        let text = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (ended.status.code().unwrap(), text)
    }

    #[track_caller]
    fn must((code, text): (i32, String)) -> String {
        assert_eq!(code, 0, "{text}");
        text
    }

    /// Prepares, initializes and plans; what the tool said, and what the plan would do.
    async fn plan(&self) -> (String, Summary) {
        self.prepare();
        let init = self.run(self.commands().init(Lock::Free), self.environment(Operation::Init)).await;
        let mut console = Self::must(init);
        let plan = self.commands().plan(&self.payload.run, &self.payload.workspace).unwrap();
        console += &Self::must(self.run(plan, self.environment(Operation::Plan)).await);
        let show = self.run(self.commands().show(), self.environment(Operation::Plan).quiet()).await;
        let summary = plan_json::summarize(Self::must(show).as_bytes(), self.payload.run.mode).unwrap();
        (console, summary)
    }

    async fn apply(&self) -> (i32, String) {
        self.run(self.commands().apply(), self.environment(Operation::Apply)).await
    }

    async fn plan_and_apply(&self) -> Summary {
        let (_, summary) = self.plan().await;
        Self::must(self.apply().await);
        summary
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[tokio::test]
async fn values_arrive_as_they_were_set() {
    let plain = "${path} %{ if true } $${x} %%{y} \"q\" \\ é 😀 \t\r\nend";
    let object = "{\n  a = \"q\\\"${\"x\"}\"\n  b = [true, null] # a comment\n}";
    let rig = Rig::new(json!({ "variables": [
        {"key": "plain", "value": plain, "category": "terraform", "sensitive": true},
        {"key": "untyped", "value": "[1]", "category": "terraform"},
        {"key": "number", "value": "5", "category": "terraform"},
        {"key": "list", "value": "[\"a\", \"b\"] // two", "category": "terraform", "hcl": true},
        {"key": "object", "value": object, "category": "terraform", "hcl": true},
        {"key": "heredoc", "value": "<<EOT\ntext\nEOT", "category": "terraform", "hcl": true},
        {"key": "unknown", "value": "x", "category": "terraform"},
        {"key": "unknown_list", "value": "[1]", "category": "terraform", "hcl": true},
        {"key": "TF_VAR_shell", "value": "from the shell", "category": "shell"},
    ]}))
    .await;
    rig.file(
        "main.tf",
        r#"
        variable "plain" {}
        variable "untyped" {}
        variable "number" { type = number }
        variable "list" { type = list(string) }
        variable "object" { type = any }
        variable "heredoc" {}
        variable "shell" {}
        variable "scalr_run_id" {}
        output "all" { value = [
            var.plain, var.untyped, var.number, var.list, var.object, var.heredoc, var.shell, var.scalr_run_id
        ] }
        "#,
    );
    let (console, summary) = rig.plan().await;
    assert!(!console.contains("Warning"), "{console}");
    assert!(summary.has_changes, "a new output is a change");
    Rig::must(rig.apply().await);
    let expected = json!([
        plain, "[1]", 5, ["a", "b"], {"a": "q\"x", "b": [true, null]}, "text\n", "from the shell", "run-1"
    ]);
    assert_eq!(rig.state.outputs()["all"]["value"], expected);
}

#[tokio::test]
async fn precedence_is_the_documented_one() {
    let set = |key: &str| json!({"key": key, "value": "scalr", "category": "terraform"});
    let rig = Rig::new(json!({
        "workspace": {"working-directory": "envs/prod", "var-files": ["../common.tfvars", "last.tfvars"]},
        "variables": [set("a"), set("b"), set("c"), set("d")],
    }))
    .await;
    let declared: String = ["a", "b", "c", "d"].map(|name| format!("variable \"{name}\" {{}}\n")).concat();
    rig.file(
        "envs/prod/main.tf",
        &format!("{declared}output \"o\" {{ value = [var.a, var.b, var.c, var.d] }}"),
    );
    rig.file("envs/prod/terraform.tfvars", "a = \"tfvars\"\nb = \"tfvars\"\n");
    rig.file("envs/prod/own.auto.tfvars", "b = \"auto\"\nc = \"auto\"\n");
    rig.file("envs/common.tfvars", "c = \"common\"\nd = \"common\"\n");
    rig.file("envs/prod/last.tfvars", "d = \"last\"\n");
    rig.plan_and_apply().await;
    assert_eq!(rig.state.outputs()["o"]["value"], json!(["scalr", "auto", "common", "last"]));
}

#[tokio::test]
async fn the_state_is_the_workspaces_whatever_the_configuration_says() {
    for backend in [
        "cloud {\n organization = \"x\"\n workspaces {\n name = \"y\"\n }\n }",
        "backend \"s3\" {\n bucket = \"b\"\n key = \"k\"\n region = \"r\"\n }",
        "backend \"remote\" {\n hostname = \"h.invalid\"\n organization = \"o\"\n workspaces {\n name = \"y\"\n }\n }",
        "backend \"local\" {}",
    ] {
        let rig = Rig::new(json!({})).await;
        rig.file("main.tf", &format!("terraform {{\n {backend}\n}}\noutput \"o\" {{ value = 1 }}"));
        // What people commit by mistake.
        rig.file(
            "terraform.tfstate",
            r#"{"version":4,"serial":9,"lineage":"old","outputs":{},"resources":[]}"#,
        );
        rig.file(".terraform/environment", "prod");
        rig.file(ERRORED_STATE, "old");
        let (console, _) = rig.plan().await;
        Rig::must(rig.apply().await);
        assert_eq!(rig.state.outputs()["o"]["value"], json!(1), "{backend}: {console}");
        assert!(!rig.paths.worker.config.join(ERRORED_STATE).exists());
    }
}

#[tokio::test]
async fn an_apply_in_a_fresh_folder_applies_the_saved_plan_and_the_plan_holds_no_token() {
    let rig = Rig::new(json!({ "variables": [
        {"key": "v", "value": "planned", "category": "terraform"},
        {"key": "e", "value": "ephemeral", "category": "terraform"},
    ]}))
    .await;
    let main = "variable \"v\" {}\nvariable \"e\" {\n ephemeral = true\n}\n\
                resource \"terraform_data\" \"x\" {\n input = var.v\n}\noutput \"o\" {\n value = [var.v, path.cwd]\n}";
    rig.file("main.tf", main);
    rig.plan().await;
    let plan = fs::read(rig.paths.worker.data.join(PLAN_FILE)).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&plan)).unwrap();
    for index in 0..archive.len() {
        let mut content = Vec::new();
        std::io::copy(&mut archive.by_index(index).unwrap(), &mut content).unwrap();
        assert!(!content.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
    }
    rig.start_afresh();
    rig.file("main.tf", main);
    rig.prepare();
    Rig::must(rig.run(rig.commands().init(Lock::Free), rig.environment(Operation::Init)).await);
    fs::write(rig.paths.worker.data.join(PLAN_FILE), plan).unwrap();
    let console = Rig::must(rig.apply().await);
    assert!(console.contains("Apply complete! Resources: 1 added, 0 changed, 0 destroyed."), "{console}");
    assert!(!console.contains("Warning"), "{console}");
    let cwd = rig.paths.runner.config.display().to_string();
    assert_eq!(rig.state.outputs()["o"]["value"], json!(["planned", cwd]));
}

#[tokio::test]
async fn the_summary_is_the_tools_own_count() {
    let counts = |summary: Summary| {
        let Summary { has_changes, resource_additions, resource_changes, resource_destructions, .. } =
            summary;
        (has_changes, resource_additions, resource_changes, resource_destructions)
    };
    let mut rig = Rig::new(json!({})).await;
    let resources = |a: u32| {
        format!(
            "resource \"terraform_data\" \"a\" {{\n input = {a}\n}}\n\
             resource \"terraform_data\" \"b\" {{\n triggers_replace = {a}\n}}\noutput \"o\" {{\n value = 1\n}}"
        )
    };
    rig.file("main.tf", &resources(1));
    assert_eq!(counts(rig.plan_and_apply().await), (true, 2, 0, 0));
    assert_eq!(counts(rig.plan().await.1), (false, 0, 0, 0));
    rig.file("main.tf", &resources(2));
    assert_eq!(counts(rig.plan().await.1), (true, 1, 1, 1));
    rig.file("main.tf", &resources(1).replace("value = 1", "value = 2"));
    assert_eq!(counts(rig.plan().await.1), (true, 0, 0, 0));
    rig.payload.run.mode = RunMode::Refresh;
    assert_eq!(counts(rig.plan().await.1), (true, 0, 0, 0));
    rig.payload.run.mode = RunMode::SkipRefresh;
    rig.payload.run.targets = vec!["terraform_data.a".to_owned()];
    assert_eq!(counts(rig.plan().await.1), (false, 0, 0, 0));
    (rig.payload.run.mode, rig.payload.run.targets) = (RunMode::Apply, Vec::new());
    rig.payload.run.replace = vec!["terraform_data.a".to_owned()];
    assert_eq!(counts(rig.plan().await.1), (true, 1, 0, 1));
    (rig.payload.run.is_destroy, rig.payload.run.replace) = (true, Vec::new());
    assert_eq!(counts(rig.plan().await.1), (true, 0, 0, 2));
}

#[tokio::test]
async fn a_state_that_could_not_be_pushed_is_uploaded_and_pushed_later() {
    let rig = Rig::new(json!({})).await;
    rig.file("main.tf", "resource \"terraform_data\" \"x\" {}\noutput \"o\" {\n value = 7\n}");
    rig.plan().await;
    rig.state.refuse(true);
    let (code, console) = rig.apply().await;
    assert_eq!(code, 1, "{console}");
    let upload = Upload::from_folder(&rig.config(), Path::new(ERRORED_STATE), BlobKind::ErroredState);
    let upload = upload.unwrap().expect("the tool saved it");
    assert!(upload.blob.bytes > 0);
    rig.state.refuse(false);
    let pushed = rig.run(rig.commands().push_errored_state(), rig.environment(Operation::Apply)).await;
    Rig::must(pushed);
    assert_eq!(rig.state.outputs()["o"]["value"], json!(7));
}

#[tokio::test]
async fn a_broken_hcl_value_fails_the_run_and_names_its_file() {
    let rig = Rig::new(json!({ "variables": [
        {"key": "list", "value": "[1 2]", "category": "terraform", "hcl": true, "sensitive": true},
    ]}))
    .await;
    rig.file("main.tf", "variable \"list\" {}\n");
    rig.prepare();
    // From 1.15 on `init` reads the values; before, `plan` is the first to.
    let mut ended = rig.run(rig.commands().init(Lock::Free), rig.environment(Operation::Init)).await;
    if ended.0 == 0 {
        let plan = rig.commands().plan(&rig.payload.run, &rig.payload.workspace).unwrap();
        ended = rig.run(plan, rig.environment(Operation::Plan)).await;
    }
    let (code, console) = ended;
    assert_eq!(code, 1);
    assert!(console.contains("00-scalr.auto.tfvars"), "{console}");
    drop(rig.folder);
}
