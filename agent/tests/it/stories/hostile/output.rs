//! What a program says that wants to drown its worker, or to smuggle something out.

use scalr_protocol::blob::Digest;
use sha2::{Digest as _, Sha256};

use super::{next_run_is_fine, no_token_is_anywhere, obedient, python};
use crate::rig::{Rig, is_soak};

/// What a program wrote is what the console has, byte for byte: told by its digest, which the program has
/// marked.
#[track_caller]
fn arrived_whole(rig: &Rig, run: &str, mark: &str) {
    let console = rig.person(&["logs", run]).stdout;
    let marked: Vec<String> = rig.marks(mark);
    let [begin, end] = ["<<<\n", ">>>\n"].map(|edge| {
        let edge = edge.as_bytes();
        console.windows(edge.len()).position(|bytes| bytes == edge).expect("its edge")
    });
    let digest = Digest(Sha256::digest(&console[begin + 4..end]).into());
    assert_eq!(marked, [digest.to_string()]);
}

/// A program that writes what `pieces` yields, and marks the digest of it.
fn writes(mark: &str, pieces: &str) -> String {
    let program = format!(
        "import sys, os, hashlib\nout = sys.stdout.buffer\nout.write(b\"<<<\\n\")\nsha = hashlib.sha256()\n\
         {pieces}\nfor piece in pieces():\n sha.update(piece); out.write(piece)\n\
         out.write(b\">>>\\n\"); out.flush()\nopen(sys.argv[1], \"w\").write(sha.hexdigest())"
    );
    format!("{} $marks/{mark}", python(&program))
}

#[test]
fn hundreds_of_megabytes_and_a_flood_of_lines_arrive_to_the_last_byte_in_little_memory() {
    let rig = obedient(&["--concurrency", "2"]);
    let memory = rig.watch_memory();
    let (megabytes, lines) = if is_soak() { (200, 1_000_000) } else { (24, 100_000) };
    let long = format!("def pieces():\n for n in range({megabytes}): yield b\"x\" * 999999 + b\"\\n\"");
    let many = format!("def pieces():\n for n in range({lines}): yield b\"line %d of very many\\n\" % n");
    let cases = [("long", writes("long", &long)), ("many", writes("many", &many))];
    let runs =
        cases.map(|(name, script)| (name, rig.submit(&rig.scripts(name, &[("plan", &script)]), &["--dry"])));
    for (name, run) in &runs {
        rig.await_status(run, "planned_and_finished");
        arrived_whole(&rig, run, name);
    }
    memory.stayed_within_bounds(2);
    next_run_is_fine(&rig);
}

#[test]
fn garbage_and_what_commands_a_terminal_arrive_as_they_were() {
    let rig = obedient(&[]);
    let pieces = "def pieces():\n yield os.urandom(300000).replace(b\"<<<\", b\"\").replace(b\">>>\", b\"\")\n \
                  yield bytes(range(256)) * 40\n \
                  yield b\"\\x1b]52;c;aGk=\\x07\\x1b[2J\\x1b]0;title\\x07\\x1bP1$r\\x1b\\\\\\x9b31m\\x00\\xff\\xfe\"";
    let run = rig.submit(&rig.scripts("garbage", &[("plan", &writes("garbage", pieces))]), &["--dry"]);
    rig.await_status(&run, "planned_and_finished");
    arrived_whole(&rig, &run, "garbage");
    next_run_is_fine(&rig);
}

/// Writes each of its arguments in two halves, with a pause in between, and as tools would encode it.
const PIECES: &str = r#"
import base64, json, os, sys, time, urllib.parse
def write(data): os.write(1, data)
for secret in sys.argv[1:]:
  data = secret.encode()
  forms = [data, base64.b64encode(data), base64.urlsafe_b64encode(data), json.dumps(secret).encode(),
    json.dumps(json.dumps(secret)).encode(), urllib.parse.quote(secret, safe="").encode(),
    base64.b64encode(b"user:" + data + b"@"), data.replace(b"\n", b"\r\n")]
  for form in forms:
    for at in [1, len(form) // 2, len(form) - 1]:
      write(b"[" + form[:at]); time.sleep(0.002); write(form[at:] + b"]\n")
  for byte in data: write(bytes([byte]))
  write(b"\n" + data * 3 + b"\n")
  for line in secret.split("\n"): write(b"  | " + line.encode() + b"\n")
"#;

#[test]
fn a_secret_in_pieces_or_encoded_is_nowhere_to_be_found() {
    let rig = Rig::serving(&[]);
    rig.obey();
    rig.start_controller(&[]);
    let secrets = ["p\"ss\\w0rd/with+all&of<it>", "first line of a key\nthe second of it\n{ and a third }"];
    let folder = rig.scripts("pieces", &[("plan", "exec $PYTHON pieces.py \"$ONE\" \"$TWO\" $SCALR_TOKEN")]);
    std::fs::write(folder.join("pieces.py"), PIECES).unwrap();
    let python = python("").replace(" -c ''", "");
    let [one, two] =
        [("ONE", secrets[0]), ("TWO", secrets[1])].map(|(name, value)| format!("{name}={value}"));
    let python = format!("PYTHON={python}");
    let args = ["--dry", "--sensitive-env", &one, "--sensitive-env", &two, "--env", &python];
    let token = format!("pre-init=printf %s $SCALR_TOKEN > {}", rig.mark_path("token").display());
    let run = rig.submit(&folder, &[&args[..], &["--hook", &token]].concat());
    rig.await_status(&run, "planned_and_finished");
    let console = rig.console(&run);
    let token = rig.marks("token").concat();
    let lines = secrets[1].lines().chain([secrets[0], &token]);
    for secret in lines {
        assert!(!console.contains(secret), "{secret}:\n{console}");
    }
    assert!(console.matches("***************").count() > 70, "{console}");
    assert_eq!(rig.found_in(&token), [""; 0], "the run's token is kept nowhere");
    let mut found = rig.found_in(secrets[1].lines().next().expect("its first"));
    found.retain(|file| !file.contains("server/journal-"));
    assert_eq!(found, [""; 0], "a variable is kept by the server, and by nobody else");
    next_run_is_fine(&rig);
}

#[test]
fn whatever_form_the_real_tool_gives_a_secret_it_is_not_shown_and_kept_by_nobody_else() {
    let rig = Rig::new();
    let main = r#"
        variable "key" {}
        locals {
          key   = nonsensitive(var.key)
          forms = [local.key, base64encode(local.key), urlencode(local.key), jsonencode({ k = local.key })]
        }
        output "forms" { value = local.forms }
        output "hidden" {
          value     = base64encode("user:${local.key}")
          sensitive = true
        }
        resource "terraform_data" "leaks" {
          input = local.forms
          provisioner "local-exec" {
            command = "for c in $(echo $KEY | fold -w 3); do printf %s $c; sleep 0.01; done; echo; env"
            environment = { KEY = local.key, FORMS = join(" ", local.forms) }
          }
        }
    "#;
    let key = "a+secret/that=is&odd";
    let args = ["--auto-apply", "--sensitive-var", &format!("key={key}")];
    let run = rig.submit(&rig.configuration("leaks", main), &args);
    rig.await_status(&run, "applied");
    let console = rig.console(&run);
    for form in [key, "YStzZWNyZXQvdGhhdD1pcyZvZGQ=", "a%2Bsecret%2Fthat%3Dis%26odd", r"that=is\u0026odd"] {
        assert!(!console.contains(form), "{form}:\n{console}");
    }
    assert!(console.matches("***************").count() > 10, "{console}");
    // What Terraform itself keeps is kept: its variables in its plan, what is no secret to it any more in its
    // state. The agent's own files and the console know it nowhere.
    let mut found = rig.found_in(key);
    found.retain(|file| {
        !["server/journal-", "server/blobs/", "server/states/"].iter().any(|own| file.contains(own))
    });
    assert_eq!(found, [""; 0]);
    next_run_is_fine(&rig);
}

#[test]
fn no_secret_is_completed_over_the_edge_of_two_commands() {
    let rig = obedient(&[]);
    let scripts = [("init", "printf 'now: open ses'"), ("plan", "printf 'ame, for all'")];
    let args = ["--dry", "--sensitive-env", "DOOR=open sesame"];
    let run = rig.submit(&rig.scripts("edge", &scripts), &args);
    rig.await_status(&run, "planned_and_finished");
    let console = rig.console(&run);
    assert!(console.contains("now: open ses\name, for all"), "{console}");
}

#[test]
fn the_pools_token_is_not_shown_even_to_who_has_found_it() {
    let rig = obedient(&[]);
    // With the local driver it can be found: both are the same user's.
    let find = "pid=$(cat /proc/$PPID/cwd/worker.pid); tr '\\0' '\\n' < /proc/$pid/environ";
    let run = rig.submit(&rig.scripts("finds", &[("plan", find)]), &["--dry"]);
    rig.await_status(&run, "planned_and_finished");
    let console = rig.console(&run);
    assert!(console.contains("SCALR_AGENT_TOKEN=***************"), "{console}");
    assert!(!console.contains(&rig.pool_token()));
    no_token_is_anywhere(&rig);
    next_run_is_fine(&rig);
}

/// Starts a controller whose disk takes little. For a soak that is a disk of 6 MiB, which not every machine
/// lets one mount; elsewhere it is a limit to the length of files, 2 MiB, which all below inherit: enough to
/// stop a console.
fn on_a_small_disk(rig: &Rig) {
    if !is_soak() {
        return rig.start_controller_under("trap '' XFSZ; ulimit -f 4096; exec \"$@\"", &[]);
    }
    let data = rig.data().display().to_string();
    let mounted = format!("mkdir -p {data} && mount -t tmpfs -o size=6m tmpfs {data} && exec \"$@\"");
    let unshare = "unshare --mount --map-root-user";
    rig.start_controller_under(&format!("exec {unshare} sh -c '{mounted}' sh \"$@\""), &[]);
}

#[test]
fn a_disk_that_takes_no_more_of_a_console_holds_up_no_cancel_and_no_next_run() {
    let rig = Rig::serving(&[]);
    rig.obey();
    on_a_small_disk(&rig);
    let flood = "head -c 8000000 /dev/zero | tr '\\0' 'x'; echo; echo flooded >> $marks/flooded";
    let run = rig.submit(&rig.scripts("full", &[("plan", flood)]), &["--dry"]);
    rig.until("the console is as long as it can be", || rig.console(&run).len() > 1_900_000);
    if is_soak() {
        // Half a minute, after which what does not fit is left out.
        rig.until("the run is over", || rig.is_over(&run));
        assert_eq!(rig.marks("flooded").len(), 1, "it went on to its end");
        let fills = "cat /dev/zero > fills; echo filled >> $marks/filled";
        let run = rig.submit(&rig.scripts("fills", &[("plan", fills)]), &["--dry"]);
        rig.until("the run is over", || rig.is_over(&run));
        assert_eq!(rig.marks("filled").len(), 1, "the disk was full");
    } else {
        assert!(rig.marks("flooded").is_empty(), "it waits for its console");
        rig.does(&["cancel", &run]);
        rig.await_status(&run, "canceled");
    }
    next_run_is_fine(&rig);
}
