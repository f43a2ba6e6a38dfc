//! Archives by chance: whatever is in them, nothing outside the folder changes.

use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;

use super::*;

fn hostile_path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "c", "..", ".", "", "outside", "file"]);
    (prop::collection::vec(part, 1..5), any::<bool>(), any::<bool>()).prop_map(|(parts, absolute, slash)| {
        format!("{}{}{}", if absolute { "/" } else { "" }, parts.join("/"), if slash { "/" } else { "" })
    })
}

fn hostile_entry() -> impl Strategy<Value = Raw> {
    let kind = prop::sample::select(b"00022211555367LKxgSV\0".to_vec());
    // Mostly harmless, so that archives get far.
    let path = prop_oneof![3 => "[abc](/[abc]){0,2}", 1 => hostile_path()];
    let target = prop_oneof![2 => "(\\.\\./){0,2}[abc](/[abc]){0,2}", 1 => hostile_path()];
    (kind, path, target, any::<u16>()).prop_map(|(kind, path, target, mode)| {
        let pax = format!(" path={target}\n");
        let content = match kind {
            b'x' | b'g' => format!("{}{pax}", pax.len() + 2 - usize::from(pax.len() < 8)).into_bytes(),
            b'L' | b'K' => target.clone().into_bytes(),
            b'0' | 0 => b"content".to_vec(),
            _ => Vec::new(),
        };
        Raw { kind, path, target, mode: u32::from(mode), content }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_the_archive_nothing_outside_changes_and_no_link_leads_out(
        entries in prop::collection::vec(hostile_entry(), 0..12),
    ) {
        let (root, folder) = place();
        let outside = root.path().join("outside/file");
        let before = fs::metadata(&outside).unwrap();
        let result = unpack(&gz(&tar(&entries))[..], &folder, &SMALL);
        let after = fs::metadata(&outside).unwrap();
        prop_assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
        prop_assert_eq!(tree(&root.path().join("outside")), "file 644 \"untouched\"\n");
        let now = (after.ino(), after.mtime_nsec(), after.nlink());
        prop_assert_eq!((before.ino(), before.mtime_nsec(), 1), now);
        match result {
            Ok(_) => links_stay_inside(&root.path().join("config")),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
        }
    }
}

/// As the kernel resolves them: what exists must be inside.
fn links_stay_inside(config: &Path) {
    let config = fs::canonicalize(config).unwrap();
    let mut left = vec![config.clone()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7022, if metadata.is_symlink() { 0o022 } else { 0 });
            if metadata.is_dir() {
                left.push(path);
            } else if let Ok(real) = fs::canonicalize(&path) {
                assert!(real.starts_with(&config), "{} leads to {}", path.display(), real.display());
            }
        }
    }
}
