//! A stand-in for the tool, where a story must count what the tool is told, and say when it ends.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::Rig;

/// Its plan has one change. Its apply marks `began` and each signal, and goes on until `go` is marked; then
/// it marks `ended` and exits with what stands in `exit`, or 0. Where `plugin` is marked it has a child of
/// its own group that any signal ends, and that marks `plugin`. Where `chatty` is marked it says numbered
/// lines meanwhile, which are also in `lines`.
const SCRIPT: &str = r#"#!/bin/sh
marks=MARKS
case "$1" in
init) echo "Initialized." ;;
plan)
  for word; do case "$word" in -out=*) echo planned > "${word#-out=}" ;; esac; done
  echo "Planned." ;;
show)
  echo '{"format_version":"1.2","terraform_version":"1.15.5","resource_changes":[{"address":"x.y",
    "mode":"managed","type":"x","name":"y","change":{"actions":["create"],"before":null,"after":{}}}]}' ;;
apply)
  trap 'echo INT >> $marks/signals; echo "Interrupted."' INT
  trap 'echo TERM >> $marks/signals' TERM
  trap 'echo HUP >> $marks/signals' HUP
  echo began >> $marks/began
  echo "Applying."
  if [ -e $marks/plugin ]; then
    sh -c 'trap "echo hit >> MARKS/plugin; exit 1" INT TERM HUP
           while [ ! -e MARKS/go ]; do sleep 0.05; done
           echo whole >> MARKS/plugin'
  fi
  n=0
  while [ ! -e $marks/go ]; do
    sleep 0.05
    [ -e $marks/chatty ] && n=$((n + 1)) && echo "line $n" | tee -a $marks/lines
  done
  echo "Applied."
  echo ended >> $marks/ended
  exit $(cat $marks/exit 2>/dev/null || echo 0) ;;
esac
"#;

/// Does what the configuration says: for each of the tool's commands the shell script of that name in the
/// working directory, `plan.sh` and the like, where there is one. It knows the plan file as `$plan`, and the
/// folder of marks as `$marks`. Without `show.sh` the plan has one change.
const OBEDIENT: &str = r#"#!/bin/sh
marks=MARKS
for plan; do case "$plan" in -out=*) plan="${plan#-out=}"; break ;; esac; done
if [ "$1" = plan ]; then echo planned > "$plan"; fi
if [ -e "$1.sh" ]; then . "./$1.sh"
elif [ "$1" = show ]; then
  echo '{"format_version":"1.2","resource_changes":[{"change":{"actions":["create"]}}]}'
fi
"#;

impl Rig {
    /// Lets the tool of all agents that are started from now on be one that does what each run's own scripts
    /// say: whatever a provider of the user's could do.
    pub(crate) fn obey(&self) {
        self.tool_of_script(&OBEDIENT.replace("MARKS", &self.path().join("marks").display().to_string()));
    }

    /// A configuration with such scripts: name of the command, and what is done.
    pub(crate) fn scripts(&self, name: &str, scripts: &[(&str, &str)]) -> PathBuf {
        let folder = self.configuration(name, "# nothing");
        for (command, script) in scripts {
            fs::write(folder.join(format!("{command}.sh")), script).expect("a script");
        }
        folder
    }

    /// Lets the stand-in be the tool of all agents that are started from now on.
    pub(crate) fn stand_in(&self) {
        self.tool_of_script(&SCRIPT.replace("MARKS", &self.path().join("marks").display().to_string()));
    }

    fn tool_of_script(&self, script: &str) {
        let path = self.path().join("terraform");
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        *self.tool.borrow_mut() = path;
    }
}
