//! Texts that strangers send: what is written can be read back, and nothing else does harm.

use std::collections::BTreeSet;

use proptest::prelude::*;
use scalr_protocol::{
    agent::Action,
    blob::{BlobKind, Digest},
    console::{ContentRange, parse_stored, stored_header},
    error::{ApiError, ErrorCode},
    id::{RunId, TaskId},
};

/// Texts that are nearly right, and texts that are nothing at all.
fn nearly(pattern: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), pattern.prop_map(|text| text)]
}

proptest! {
    #[test]
    fn a_content_range_is_read_as_it_was_written(first: u64, bytes: u64) {
        let Some(range) = ContentRange::new(first, bytes) else {
            prop_assert!(bytes == 0 || first.checked_add(bytes - 1).is_none());
            return Ok(());
        };
        prop_assert_eq!(range.bytes(), bytes);
        prop_assert_eq!(ContentRange::parse(&range.to_string()), Ok(range));
    }

    #[test]
    fn a_content_range_is_read_from_any_text_or_refused(
        text in nearly("(bytes)? ?[0-9+-]{0,21}-[0-9]{0,21}/[*0-9]?")
    ) {
        if let Ok(range) = ContentRange::parse(&text) {
            prop_assert!(range.bytes() > 0);
            prop_assert_eq!(ContentRange::parse(&range.to_string()), Ok(range));
        }
    }

    #[test]
    fn a_stored_length_is_read_as_it_was_written(bytes: u64) {
        prop_assert_eq!(parse_stored(stored_header(bytes).as_deref()), Ok(bytes));
    }

    #[test]
    fn a_stored_length_is_read_from_any_text_or_refused(text in nearly("bytes=[0-9]{0,3}-[0-9]{0,21}")) {
        if let Ok(bytes) = parse_stored(Some(&text)) {
            prop_assert_eq!(parse_stored(stored_header(bytes).as_deref()), Ok(bytes));
        }
    }

    #[test]
    fn a_digest_is_read_as_it_was_written(bytes: [u8; 32]) {
        let digest = Digest(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(Digest::from_header(&digest.to_header()), Ok(digest));
        let json = serde_json::to_string(&digest).unwrap();
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }

    #[test]
    fn a_digest_is_read_from_any_text_or_refused(
        text in nearly("[0-9a-fA-F+]{63,65}|é{32}|(sha-256=)?:[A-Za-z0-9+/=]{0,48}:?")
    ) {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text.to_ascii_lowercase());
        }
        if let Ok(digest) = Digest::from_header(&text) {
            prop_assert_eq!(digest.to_header(), text.trim());
        }
    }

    #[test]
    fn an_id_is_any_text_of_its_letters_and_no_other(text in nearly("[A-Za-z0-9._-]{0,130}")) {
        let fits = (1..=128).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !text.starts_with('.');
        match TaskId::new(&text) {
            Ok(id) => {
                prop_assert!(fits);
                prop_assert_eq!(id.as_str(), &text);
                prop_assert_eq!(id.to_string().parse(), Ok(id.clone()));
                let json = serde_json::to_string(&id).unwrap();
                prop_assert_eq!(serde_json::from_str::<TaskId>(&json).unwrap(), id);
            }
            Err(error) => {
                prop_assert!(!fits);
                prop_assert!(error.value.chars().count() <= 64);
            }
        }
    }
}

#[test]
fn a_bad_id_is_refused_with_its_value_and_the_remedy() {
    let error = RunId::new("run/../../etc").unwrap_err();
    expect_test::expect!["`run/../../etc` is no run id: an id has 1 to 128 letters, digits, '-', '_' or '.'"]
        .assert_eq(&error.to_string());
}

#[test]
fn actions_and_blob_kinds_have_one_name_each() {
    for action in Action::ALL {
        assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
    }
    for kind in BlobKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
}

#[test]
fn every_refusal_has_a_name_of_its_own_and_a_status_of_an_error() {
    let names: BTreeSet<String> =
        ErrorCode::ALL.iter().map(|code| serde_json::to_string(code).unwrap()).collect();
    assert_eq!(names.len(), ErrorCode::ALL.len());
    for code in ErrorCode::ALL {
        assert!((400..600).contains(&code.status()), "{code:?}");
        let error = ApiError::new(code, "");
        assert_eq!(error.to_string(), code.title());
        assert_eq!(error.status, code.status().to_string());
    }
}
