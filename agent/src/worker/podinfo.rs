//! Which task this pod is for: annotations by the downward API, `key="value"` lines with Go's quoting.

use std::{collections::BTreeMap, io::Read, path::Path};

use anyhow::{Context, bail};
use scalr_protocol::id::{Fence, TaskId};

/// The annotation that names the task.
pub const TASK: &str = "scalr.io/task";
/// The annotation that names the grant.
pub const FENCE: &str = "scalr.io/fence";

/// How large the file may be: Kubernetes bounds all annotations of an object to 256 KiB, and quoting may
/// make each byte four.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the pod says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Podinfo {
    /// The task.
    pub task: TaskId,
    /// The grant for which the Job was made.
    pub fence: Fence,
}

impl Podinfo {
    /// Reads the folder of the downward API volume.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("annotations");
        let place = path.display();
        let mut text = String::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
            .with_context(|| {
                format!("`{place}` can't be read; is the podinfo volume mounted? (SCALR_AGENT_PODINFO)")
            })?;
        let annotations = parse(&text);
        let value = |name: &str| {
            annotations.get(name).with_context(|| {
                format!("`{place}` has no annotation `{name}`; only a controller's Job has it")
            })
        };
        let fence = value(FENCE)?;
        let Ok(number) = fence.parse() else { bail!("`{place}`: `{fence}` is no fence; expected a number") };
        let task = TaskId::new(value(TASK)?).with_context(|| format!("`{place}`"))?;
        Ok(Self { task, fence: Fence(number) })
    }
}

/// Reads `key="value"` lines; what is none is passed over, since it is not ours.
fn parse(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (key, quoted) = line.split_once('=')?;
        let value = quoted.strip_prefix('"')?.strip_suffix('"')?;
        Some((key.to_owned(), unquote(value)))
    };
    text.lines().filter_map(pair).collect()
}

/// Undoes the escapes that can stand in our own annotations' values.
fn unquote(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match (char, char == '\\') {
            (_, true) => match chars.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some(other) => plain.push(other),
                None => {}
            },
            (char, false) => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(annotations: &str, expected: &Expect) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("annotations"), annotations).unwrap();
        let said = match Podinfo::read(folder.path()) {
            Ok(podinfo) => format!("{} {}", podinfo.task, podinfo.fence),
            Err(error) => format!("{error:#}").replace(&folder.path().display().to_string(), "DIR"),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn the_task_and_its_fence_are_annotations() {
        check("other=\"a\\\"b\"\nscalr.io/task=\"atask-1\"\nscalr.io/fence=\"3\"\n", &expect!["atask-1 3"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        check(
            "scalr.io/task=\"atask-1\"\n",
            &expect!["`DIR/annotations` has no annotation `scalr.io/fence`; only a controller's Job has it"],
        );
        check(
            "scalr.io/task=\"atask-1\"\nscalr.io/fence=\"x\"\n",
            &expect!["`DIR/annotations`: `x` is no fence; expected a number"],
        );
        check(
            "scalr.io/task=\"../x\"\nscalr.io/fence=\"1\"\n",
            &expect![
                "`DIR/annotations`: `../x` is no task id: an id has 1 to 128 letters, digits, '-', '_' or '.'"
            ],
        );
    }
}
