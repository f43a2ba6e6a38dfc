//! Bad input to every command: one line with the value, the place and the remedy, and an exit code that tells
//! a mistake in the options (64) from all else (1). Each list is a transcript: `$` and what is given, then
//! what it ends with.

use std::{fmt::Write as _, fs, io::Write as _, net::TcpListener, process::Command};

use expect_test::{Expect, expect};
use flate2::{Compression, write::GzEncoder};

use crate::rig::{AGENT, Rig, fake_scalr, text};

/// A token as servers make them; its issuer is `https://example.invalid`.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2V4YW1wbGUuaW52YWxpZCJ9.x";

/// Gives each line of a transcript to a program: words, and variables such as `SCALR_URL=x`.
#[track_caller]
fn check(program: impl Fn() -> Command, rig: &Rig, transcript: &Expect) {
    let folder = rig.path().display().to_string();
    let mut all = String::new();
    for line in transcript.data.lines().filter_map(|line| line.trim().strip_prefix('$')) {
        let given = line.replace("DIR", &folder).replace("A-TOKEN", TOKEN);
        let (variables, words): (Vec<&str>, Vec<&str>) =
            given.split_whitespace().partition(|word| word.starts_with("SCALR_") && word.contains('='));
        let mut command = program();
        command.args(words).envs(variables.iter().filter_map(|variable| variable.split_once('=')));
        let output = command.output().expect("it can be started");
        let complained = text(&output.stderr).replace(&folder, "DIR").replace(TOKEN, "A-TOKEN");
        let code = output.status.code().expect("no signal ended it");
        let _ = write!(all, "${line}\n{code} {complained}{}", text(&output.stdout));
    }
    transcript.assert_eq(&all);
}

#[test]
fn a_submission_that_can_not_be_says_why() {
    let rig = Rig::serving(&[]);
    for name in ["empty", "texts"] {
        fs::create_dir(rig.path().join(name)).unwrap();
    }
    fs::write(rig.path().join("texts/notes.txt"), "no configuration").unwrap();
    rig.configuration("w", "# nothing");
    check(
        || rig.person_command(),
        &rig,
        &expect![[r"
            $ submit
            64 fake-scalr: the following required arguments were not provided: <DIR>; `--help` tells what is possible
            $ submit DIR/nowhere
            64 fake-scalr: `DIR/nowhere` is no folder: No such file or directory (os error 2); name the folder that holds the configuration
            $ submit DIR/empty
            64 fake-scalr: `DIR/empty` holds no *.tf or *.tf.json file; name the folder that holds the configuration, or its --working-directory
            $ submit DIR/texts
            64 fake-scalr: `DIR/texts` holds no *.tf or *.tf.json file; name the folder that holds the configuration, or its --working-directory
            $ submit DIR/credentials
            64 fake-scalr: `DIR/credentials` is no folder: it is a file; name the folder that holds the configuration
            $ submit DIR/configurations/w --working-directory ../x
            64 fake-scalr: invalid value '../x' for '--working-directory <PATH>': expected a relative path without `..`; `--help` tells what is possible
            $ submit DIR/configurations/w --working-directory nowhere
            64 fake-scalr: `DIR/configurations/w/nowhere` holds no *.tf or *.tf.json file; name the folder that holds the configuration, or its --working-directory
            $ submit DIR/configurations/w --var novalue
            64 fake-scalr: invalid value 'novalue' for '--var <KEY=VALUE>': expected KEY=VALUE; `--help` tells what is possible
            $ submit DIR/configurations/w --env no-name=x
            64 fake-scalr: invalid value 'no-name=x' for '--env <KEY=VALUE>': `no-name` is no name of a variable: expected letters, digits and '_', no digit first; `--help` tells what is possible
            $ submit DIR/configurations/w --hook lunch=eat
            64 fake-scalr: invalid value 'lunch=eat' for '--hook <PHASE=COMMAND>': `lunch` is no phase: expected pre-init, pre-plan, post-plan, pre-apply, post-apply; `--help` tells what is possible
            $ submit DIR/configurations/w --timeout 90s
            64 fake-scalr: invalid value '90s' for '--timeout <DURATION>': expected whole minutes, such as 10m; `--help` tells what is possible
            $ submit DIR/configurations/w --tool terraform
            64 fake-scalr: invalid value 'terraform' for '--tool <NAME@VERSION>': expected NAME@VERSION or NAME@VERSION=URL#SHA256; `--help` tells what is possible
            $ submit DIR/configurations/w --token nobodys
            1 fake-scalr: the token is not valid: the server does not know it
        "]],
    );
}

#[test]
fn every_other_command_of_a_person_says_what_is_wrong() {
    let rig = Rig::serving(&[]);
    check(
        || rig.person_command(),
        &rig,
        &expect![[r"
            $
            64 fake-scalr: no command was given; `fake-scalr --help` lists them
            $ frobnicate
            64 fake-scalr: unrecognized subcommand 'frobnicate'; `--help` tells what is possible
            $ runs --frobnicate
            64 fake-scalr: unexpected argument '--frobnicate' found; `--help` tells what is possible
            $ runs --token nobodys
            1 fake-scalr: the token is not valid: the server does not know it
            $ runs --url nowhere
            64 fake-scalr: invalid value 'nowhere' for '--url <URL>': relative URL without a base; expected such as http://127.0.0.1:8010; `--help` tells what is possible
            $ runs --url http://127.0.0.1:1
            1 fake-scalr: http://127.0.0.1:1/ can't be reached (Connection refused (os error 111)); start it with `fake-scalr serve`, or set --url or SCALR_URL
            $ runs --workspace nowhere
            1 fake-scalr: there is no workspace `nowhere`
            $ approve
            64 fake-scalr: the following required arguments were not provided: <RUN>; `--help` tells what is possible
            $ approve ../x
            64 fake-scalr: invalid value '../x' for '<RUN>': `../x` is no run id: an id has 1 to 128 letters, digits, '-', '_' or '.'; `--help` tells what is possible
            $ approve run-0
            1 fake-scalr: not found: there is no run `run-0`
            $ discard run-0
            1 fake-scalr: not found: there is no run `run-0`
            $ cancel run-0
            1 fake-scalr: not found: there is no run `run-0`
            $ cancel run-0 --force
            1 fake-scalr: not found: there is no run `run-0`
            $ logs run-0
            1 fake-scalr: not found: there is no run `run-0`
            $ lock nowhere
            1 fake-scalr: there is no workspace `nowhere`; `runs` lists those in use
            $ unlock nowhere
            1 fake-scalr: there is no workspace `nowhere`; `runs` lists those in use
            $ agents --token nobodys
            1 fake-scalr: the token is not valid: the server does not know it
        "]],
    );
}

#[test]
fn without_a_token_a_person_is_told_what_is_missing() {
    let rig = Rig::serving(&[]);
    check(
        || rig.command(fake_scalr()),
        &rig,
        &expect![[r"
            $ runs
            64 fake-scalr: the following required arguments were not provided: --token <TOKEN>; set SCALR_TOKEN, which `fake-scalr serve` prints; `--help` tells what is possible
            $ submit DIR
            64 fake-scalr: the following required arguments were not provided: --token <TOKEN>; set SCALR_TOKEN, which `fake-scalr serve` prints; `--help` tells what is possible
            $ agents
            64 fake-scalr: the following required arguments were not provided: --token <TOKEN>; set SCALR_TOKEN, which `fake-scalr serve` prints; `--help` tells what is possible
        "]],
    );
}

#[test]
fn a_server_that_can_not_serve_says_why() {
    let rig = Rig::serving(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    fs::write(rig.path().join("file"), "").unwrap();
    let serve = || {
        let mut command = rig.command(fake_scalr());
        command.arg("serve");
        command
    };
    check(
        serve,
        &rig,
        &expect![[r"
            $ --listen nowhere
            64 fake-scalr: invalid value 'nowhere' for '--listen <LISTEN>': expected ADDRESS:PORT, such as 127.0.0.1:8010; `--help` tells what is possible
            $ --listen 127.0.0.1
            64 fake-scalr: invalid value '127.0.0.1' for '--listen <LISTEN>': expected ADDRESS:PORT, such as 127.0.0.1:8010; `--help` tells what is possible
            $ --url ftp://x
            64 fake-scalr: invalid value 'ftp://x' for '--url <URL>': expected http:// or https:// and a host; `--help` tells what is possible
            $ --lost-after soon
            64 fake-scalr: invalid value 'soon' for '--lost-after <DURATION>': expected a number and ms, s, m or h, such as 30s or 5m; `--help` tells what is possible
            $ --tool terraform
            64 fake-scalr: invalid value 'terraform' for '--tool <NAME@VERSION[=URL#SHA256]>': expected NAME@VERSION or NAME@VERSION=URL#SHA256; `--help` tells what is possible
            $ --log =loud
            64 fake-scalr: invalid value '=loud' for '--log <DIRECTIVES>': expected off, error, warn, info, debug or trace; `--help` tells what is possible
            $ --listen 127.0.0.1:0 --data-dir DIR/file
            1 fake-scalr: make the folder `DIR/file`: File exists (os error 17)
        "]],
    );
    let data = rig.path().join("server").display().to_string();
    let nowhere = rig.path().join("nowhere/credentials").display().to_string();
    let complaint = |args: &[&str]| {
        let output = serve().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr).replace(&rig.path().display().to_string(), "DIR").replace(&listen, "ADDRESS")
    };
    let in_use = complaint(&["--listen", "127.0.0.1:0", "--data-dir", &data]);
    assert!(in_use.contains("`DIR/server` is in use by another fake-scalr"), "{in_use}");
    let told = [
        complaint(&["--listen", &listen]),
        complaint(&["--listen", "127.0.0.1:0", "--credentials", &nowhere]),
    ];
    expect![[r"
        fake-scalr: can't listen on ADDRESS: Address already in use (os error 98); choose another --listen
        fake-scalr: can't write the credentials to `DIR/nowhere/credentials`: No such file or directory (os error 2)
    "]].assert_eq(&told.concat());
}

#[test]
fn an_agent_without_a_usable_token_says_so() {
    let rig = Rig::serving(&[]);
    fs::write(rig.path().join("file"), "").unwrap();
    fs::write(rig.path().join("two-words"), "a b").unwrap();
    check(
        || rig.command(AGENT),
        &rig,
        &expect![[r"
            $ controller
            64 scalr-agent: there is no agent pool token; set SCALR_AGENT_TOKEN or SCALR_AGENT_TOKEN_FILE
            $ controller --token
            64 scalr-agent: a value is required for '--token <TOKEN>' but none was supplied; see --help
            $ controller SCALR_AGENT_TOKEN=
            64 scalr-agent: SCALR_AGENT_TOKEN is empty; put the agent pool token there
            $ controller --token x --token-file DIR/file
            64 scalr-agent: the argument '--token <TOKEN>' cannot be used with '--token-file <TOKEN_FILE>'; see --help
            $ controller --token-file DIR/nowhere
            64 scalr-agent: `DIR/nowhere` (SCALR_AGENT_TOKEN_FILE) can't be read: No such file or directory (os error 2)
            $ controller --token-file DIR
            64 scalr-agent: `DIR` (SCALR_AGENT_TOKEN_FILE) can't be read: Is a directory (os error 21)
            $ controller --token-file DIR/file
            64 scalr-agent: `DIR/file` (SCALR_AGENT_TOKEN_FILE) is empty; put the agent pool token there
            $ controller --token-file DIR/two-words
            64 scalr-agent: `DIR/two-words` (SCALR_AGENT_TOKEN_FILE) holds characters that no token has; it must be one line without spaces
            $ controller --token noissuer
            64 scalr-agent: the pool token does not say where it is from; set SCALR_URL to the address of your Scalr
        "]],
    );
}

#[test]
fn a_controller_with_bad_settings_says_which() {
    let rig = Rig::serving(&[]);
    fs::write(rig.path().join("file"), "").unwrap();
    fs::create_dir_all(rig.path().join("others/jobs")).unwrap();
    fs::write(rig.path().join("others/jobs/their-file"), "").unwrap();
    check(
        || rig.command(AGENT),
        &rig,
        &expect![[r"
            $
            64 scalr-agent: nothing to do; be a `controller`, `worker` or `runner`; see --help
            $ frobnicate
            64 scalr-agent: unrecognized subcommand 'frobnicate'; see --help
            $ controller --frobnicate
            64 scalr-agent: unexpected argument '--frobnicate' found; see --help
            $ controller --token A-TOKEN --url nowhere
            64 scalr-agent: invalid value 'nowhere' for '--url <URL>': relative URL without a base; expected an address such as https://example.scalr.io; see --help
            $ controller --token A-TOKEN --url ftp://x
            64 scalr-agent: invalid value 'ftp://x' for '--url <URL>': expected an address that begins with https:// or http://; see --help
            $ controller --token A-TOKEN --url https://me:secret@x
            64 scalr-agent: invalid value for '--url <URL>': credentials don't belong in the address; give a token instead; see --help
            $ controller --token A-TOKEN --url https://example.scalr.io SCALR_AGENT_NAME= --data-dir DIR/data
            64 scalr-agent: the agent's name is empty; set SCALR_AGENT_NAME or leave it out
            $ controller --token A-TOKEN --ca-cert nonsense
            64 scalr-agent: SCALR_AGENT_CA_CERT holds no certificate; it should begin with -----BEGIN CERTIFICATE-----
            $ controller --token A-TOKEN --driver docker
            64 scalr-agent: invalid value 'docker' for '--driver <DRIVER>': `docker` is no driver: use `kubernetes-job` or `local`; see --help
            $ controller --token A-TOKEN --driver kubernetes-job
            1 scalr-agent: there is no service account (`/var/run/secrets/kubernetes.io/serviceaccount/token`): name a file (KUBECONFIG), or mount the token: failed to read an incluster environment variable: environment variable not found: environment variable not found
            $ controller --token A-TOKEN --data-dir DIR/data --scheduler roulette
            64 scalr-agent: `roulette` is no scheduler; SCALR_AGENT_SCHEDULER may be fifo
            $ controller --token A-TOKEN --data-dir DIR/data --scheduler-option nonsense
            64 scalr-agent: invalid value 'nonsense' for '--scheduler-option <SCHEDULER_OPTIONS>': expected NAME=VALUE; see --help
            $ controller --token A-TOKEN --data-dir DIR/file
            1 scalr-agent: `DIR/file` can't be used (SCALR_AGENT_DATA_DIR): File exists (os error 17)
            $ controller --token A-TOKEN --data-dir DIR/file/below
            1 scalr-agent: `DIR/file/below` can't be used (SCALR_AGENT_DATA_DIR): Not a directory (os error 20)
            $ controller --token A-TOKEN --data-dir DIR/others
            1 scalr-agent: `DIR/others` can't be used (SCALR_AGENT_DATA_DIR): `DIR/others/jobs` holds files that are not the agent's: choose another data folder
            $ controller --token A-TOKEN --concurrency 0
            64 scalr-agent: invalid value '0' for '--concurrency <CONCURRENCY>': 0 is not in 1..=10000; see --help
            $ controller --token A-TOKEN --concurrency many
            64 scalr-agent: invalid value 'many' for '--concurrency <CONCURRENCY>': invalid digit found in string; see --help
            $ controller --token A-TOKEN --stop-timeout soon
            64 scalr-agent: invalid value 'soon' for '--stop-timeout <STOP_TIMEOUT>': expected seconds, or a length such as 500ms, 30s or 1h30m; see --help
            $ controller --token A-TOKEN --tool-path terraform
            64 scalr-agent: invalid value 'terraform' for '--tool-path <TOOL_PATHS>': expected NAME=PATH, such as terraform=/usr/bin/terraform; see --help
            $ controller --token A-TOKEN --paused=perhaps
            64 scalr-agent: invalid value 'perhaps' for '--paused[=<PAUSED>]': value was not a boolean; see --help
            $ controller --token A-TOKEN --log-format colourful
            64 scalr-agent: invalid value 'colourful' for '--log-format <LOG_FORMAT>' [possible values: plain, dev, json]; see --help
            $ controller SCALR_AGENT_CONCURRENCY=many SCALR_AGENT_TOKEN=x
            64 scalr-agent: invalid value 'many' for '--concurrency <CONCURRENCY>': invalid digit found in string; see --help
        "]],
    );
}

#[test]
fn the_processes_of_a_job_say_what_is_wrong_with_what_they_are_given() {
    let rig = Rig::serving(&[]);
    let of_task = "scalr.io/task=\"atask-1\"\n";
    let odd = "scalr.io/task=\"../x\"\nscalr.io/fence=\"1\"\n";
    for (name, annotations) in [("podinfo", of_task), ("odd", odd)] {
        fs::create_dir(rig.path().join(name)).unwrap();
        fs::write(rig.path().join(name).join("annotations"), annotations).unwrap();
    }
    check(
        || rig.command(AGENT),
        &rig,
        &expect![[r"
            $ worker --token A-TOKEN
            1 scalr-agent: `/etc/podinfo/annotations` can't be read; is the podinfo volume mounted? (SCALR_AGENT_PODINFO): No such file or directory (os error 2)
            $ worker --token A-TOKEN --podinfo DIR/nowhere
            1 scalr-agent: `DIR/nowhere/annotations` can't be read; is the podinfo volume mounted? (SCALR_AGENT_PODINFO): No such file or directory (os error 2)
            $ worker --token A-TOKEN --podinfo DIR/podinfo
            1 scalr-agent: `DIR/podinfo/annotations` has no annotation `scalr.io/fence`; only a controller's Job has it
            $ worker --token A-TOKEN --podinfo DIR/odd
            1 scalr-agent: `DIR/odd/annotations`: `../x` is no task id: an id has 1 to 128 letters, digits, '-', '_' or '.'
            $ worker --runner-wait soon
            64 scalr-agent: invalid value 'soon' for '--runner-wait <RUNNER_WAIT>': expected seconds, or a length such as 500ms, 30s or 1h30m; see --help
            $ runner --socket DIR/nowhere/runner.sock
            1 scalr-agent: failed to listen on `DIR/nowhere/runner.sock` (is its folder there?): No such file or directory (os error 2)
            $ runner --worker-wait soon
            64 scalr-agent: invalid value 'soon' for '--worker-wait <WORKER_WAIT>': expected seconds, or a length such as 500ms, 30s or 1h30m; see --help
            $ keeper
            64 scalr-agent: the following required arguments were not provided: --job <JOB>; see --help
        "]],
    );
}

#[test]
fn a_controller_whose_token_is_refused_says_so_and_ends() {
    let rig = Rig::serving(&[]);
    let mut controller = rig.agent("controller");
    controller.env("SCALR_AGENT_TOKEN", "nobodys").arg("--data-dir").arg(rig.data());
    let output = controller.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complained = text(&output.stderr);
    expect!["scalr-agent: Scalr refused the agent pool token (the token is not valid: the server does not know it); set SCALR_AGENT_TOKEN to one that is valid"].assert_eq(complained.lines().last().unwrap());
}

#[test]
fn a_keeper_without_a_job_says_so() {
    let rig = Rig::serving(&[]);
    let output = rig.command(AGENT).args(["keeper", "--job", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complained = text(&output.stderr);
    assert!(complained.contains("`/nowhere` is no Job of a local driver"), "{complained}");
    assert_eq!(complained.lines().count(), 1);
}

/// A gzip of these bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar's header of one file.
fn header(path: &str, bytes: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o644);
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Runs an archive; the run's error and its console.
fn ends(rig: &Rig, workspace: &str, archive: &[u8]) -> String {
    let run = rig.submit_archive(workspace, archive);
    rig.await_status(&run, "errored");
    format!("{}\n{}", rig.error(&run), rig.console(&run))
}

#[test]
fn an_archive_that_is_hostile_or_broken_ends_its_run_with_a_reason() {
    let rig = Rig::new();
    // A file of 600 MiB in half a megabyte: chunks of a gzip may follow each other.
    let zeros = gzip(&vec![0; 16 << 20]);
    let mut bomb = gzip(&header("main.tf", 600 << 20));
    bomb.extend(std::iter::repeat_n(&zeros, 600 / 16).flatten());
    let escape = gzip(&[header("../outside.tf", 0), vec![0; 1024]].concat());
    let told = [
        ends(&rig, "bomb", &bomb),
        ends(&rig, "escape", &escape),
        ends(&rig, "cut", &zeros[..zeros.len() / 2]),
    ];
    expect![[r#"
        entry "main.tf" of the configuration has 629145600 bytes, the limit is 536870912
        Error: entry "main.tf" of the configuration has 629145600 bytes, the limit is 536870912

        entry "../outside.tf" of the configuration leads out of the folder
        Error: entry "../outside.tf" of the configuration leads out of the folder

        the configuration is no readable tar.gz: incomplete deflate stream
        Error: the configuration is no readable tar.gz: incomplete deflate stream
    "#]]
    .assert_eq(&told.join("\n"));
    assert!(!rig.data().join("runs").join("outside.tf").exists());
}
