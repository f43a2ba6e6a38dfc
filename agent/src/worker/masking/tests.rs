use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn masker(secrets: &[&str]) -> Masker {
    Masker::new(secrets).expect("few secrets")
}

#[track_caller]
fn check(secrets: &[&str], text: &str, expect: &Expect) {
    expect.assert_eq(&masker(secrets).mask(text));
}

/// What a stream shows when it comes in these pieces.
fn streamed(masker: &Masker, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut masker, mut out) = (masker.fresh(), Vec::new());
    for piece in pieces {
        masker.push(piece, &mut out);
    }
    masker.flush(&mut out);
    out
}

#[test]
fn masks_each_secret_and_nothing_else() {
    check(
        &["hunter2", "s3cr3t"],
        "a hunter2 b s3cr3ts hunter",
        &expect!["a *************** b ***************s hunter"],
    );
    check(&[], "nothing to hide", &expect!["nothing to hide"]);
    check(&["", "  \n"], "nothing to hide", &expect!["nothing to hide"]);
}

#[test]
fn whitespace_round_a_secret_is_no_part_of_it() {
    check(&["  hunter2\n"], "[hunter2]", &expect!["[***************]"]);
}

#[test]
fn a_short_secret_is_not_masked_and_counted() {
    let masker = masker(&["no", " abc ", "", "abcd"]);
    assert_eq!(masker.too_short(), 2);
    assert_eq!(masker.mask("no abc abcd"), "no abc ***************");
}

#[test]
fn of_overlapping_secrets_the_leftmost_longest_is_masked() {
    check(
        &["secret", "secret-key"],
        "secret-key secret-kex",
        &expect!["*************** ***************-kex"],
    );
    check(&["abcdef", "defghi"], "abcdefghi", &expect!["***************ghi"]);
    check(&["abcdefgh", "cdef"], "abcdefg", &expect!["ab***************g"]);
}

const KEY: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ==\nend\n-----END KEY-----\n";

#[test]
fn a_secret_of_several_lines_is_masked_whole_and_by_line() {
    let [lf, crlf] = [KEY.trim_end().to_owned(), KEY.trim_end().replace('\n', "\r\n")];
    for secret in [KEY, &crlf] {
        check(&[secret], &format!("<{lf}> <{crlf}>"), &expect!["<***************> <***************>"]);
    }
    check(
        &[KEY],
        "key:\n  + -----BEGIN KEY-----\n  + MIIEvQIBADANBg\n  + kqhkiG9w0BAQ==\n  + end",
        &expect![[r"
            key:
              + ***************
              + ***************
              + ***************
              + end"]],
    );
}

#[test]
fn a_secret_is_found_as_tools_write_it_into_strings() {
    let secret = "a\"b\\c<d>\té\n${e}";
    check(&[secret], r#"serde "a\"b\\c<d>\té\n${e}""#, &expect![[r#"serde "***************""#]]);
    check(&[secret], r#"go "a\"b\\c\u003cd\u003e\té\n${e}""#, &expect![[r#"go "***************""#]]);
    check(&[secret], r#"python "a\"b\\c<d>\t\u00e9\n${e}""#, &expect![[r#"python "***************""#]]);
    check(&[secret], r#"hcl "a\"b\\c<d>\té\n$${e}""#, &expect![[r#"hcl "***************""#]]);
    check(&[secret], r#"twice "a\\\"b\\\\c<d>\\té\\n${e}""#, &expect![[r#"twice "***************""#]]);
}

#[test]
fn a_backspace_and_a_form_feed_have_two_names() {
    let secret = "ab\u{8}cd\u{c}ef";
    check(
        &[secret],
        r#"new "ab\bcd\fef", old "ab\u0008cd\u000cef""#,
        &expect![[r#"new "***************", old "***************""#]],
    );
}

#[test]
fn a_secret_is_found_in_urls() {
    let secret = "p@ss wörd/1+1";
    check(&[secret], "https://u:p%40ss%20w%C3%B6rd%2F1%2B1@host", &expect!["https://u:***************@host"]);
    check(&[secret], "https://u:p%40ss%20w%c3%b6rd%2f1%2b1@host", &expect!["https://u:***************@host"]);
    check(&[secret], "https://u:p@ss%20w%C3%B6rd%2F1+1@host", &expect!["https://u:***************@host"]);
    check(&[secret], "?q=p%40ss+w%C3%B6rd%2F1%2B1&r", &expect!["?q=***************&r"]);
}

#[test]
fn a_secret_is_found_in_base64_at_any_offset() {
    let secret = "correct horse??>>";
    for user in ["", "u:", "me:", "you:"] {
        let text = format!("{user}{secret} and more");
        for engine in [base64::engine::general_purpose::STANDARD, base64::engine::general_purpose::URL_SAFE] {
            let encoded = base64::Engine::encode(&engine, &text);
            let masked = masker(&[secret]).mask(&encoded);
            assert!(masked.contains("***************"), "{text} as {encoded} gave {masked}");
            // Of the secret's own characters at most the two at its edges are left.
            assert!(
                masked.len() <= encoded.len() - secret.len() * 8 / 6 + 2 + MASK.len(),
                "{encoded} gave {masked}"
            );
        }
    }
    check(&["pass"], "cGFzcw== cGFzcw", &expect!["*************** ***************"]);
}

#[test]
fn a_prompt_is_shown_at_once() {
    let (mut masker, mut out) = (masker(&["password1"]), Vec::new());
    masker.push(b"Enter password: ", &mut out);
    assert_eq!(out, b"Enter password: ");
    masker.push(b"passw", &mut out);
    assert_eq!(out, b"Enter password: ");
    masker.push(b"ay", &mut out);
    assert_eq!(out, b"Enter password: passway");
}

#[test]
fn a_secret_that_may_go_on_is_held_until_it_is_clear() {
    let (mut masker, mut out) = (masker(&["secret", "secret-key"]), Vec::new());
    masker.push(b"secret", &mut out);
    assert_eq!(out, b"");
    masker.push(b"-", &mut out);
    masker.push(b"!", &mut out);
    assert_eq!(out, b"***************-!");
}

#[test]
fn a_large_secret_is_masked() {
    let lines: Vec<String> = (0..4000).map(|i| format!("line {i:06} of a large secret")).collect();
    let secret = lines.join("\n");
    let masker = Masker::new([&secret]).expect("one secret");
    assert_eq!(masker.mask(&format!("[{secret}]")), "[***************]");
    assert_eq!(masker.mask("[line 003999 of a large secret]"), "[***************]");
}

#[test]
fn secrets_are_not_in_its_debug_form() {
    assert!(!format!("{:?}", masker(&["hunter2"])).contains("hunter2"));
}

/// Few letters, so that secrets overlap, repeat and begin in each other; no asterisk, which a mask could
/// complete.
fn letters(bytes: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = String> {
    let letter = prop_oneof![4 => Just('a'), 3 => Just('b'), 1 => Just('\n'), 1 => Just('"'), 1 => Just('%')];
    proptest::collection::vec(letter, bytes).prop_map(|letters| letters.into_iter().collect())
}

fn cut<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect()
}

/// The rule, by hand: at each place the longest form, else one byte on.
fn by_the_rule(masker: &Masker, text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let forms = masker.secrets.forms.iter().filter(|form| rest.starts_with(form));
        if let Some(longest) = forms.map(Vec::len).max() {
            out.extend_from_slice(MASK);
            rest = &rest[longest..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_gives_what_the_whole_gives(
        secrets in proptest::collection::vec(letters(0..12), 0..5),
        text in letters(0..120),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let masker = Masker::new(&secrets).expect("few secrets");
        let whole = masker.mask(&text).into_bytes();
        prop_assert_eq!(&whole, &by_the_rule(&masker, text.as_bytes()));
        prop_assert_eq!(&whole, &streamed(&masker, &cut(text.as_bytes(), &cuts)));
        let singly: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(&whole, &streamed(&masker, &singly));
    }

    #[test]
    fn no_secret_is_ever_shown(
        secrets in proptest::collection::vec(letters(0..12), 0..5),
        between in proptest::collection::vec(letters(0..6), 6),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let masker = Masker::new(&secrets).expect("few secrets");
        let text: String = between.iter().zip(secrets.iter().cycle().map(Some).chain([None; 6]))
            .flat_map(|(between, secret)| [between.as_str(), secret.map_or("", String::as_str)])
            .collect();
        let shown = String::from_utf8(streamed(&masker, &cut(text.as_bytes(), &cuts))).expect("text");
        let trimmed = secrets.iter().map(|secret| secret.trim());
        for secret in trimmed.filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
            prop_assert!(!shown.contains(secret), "{:?} in {:?} of {:?}", secret, shown, text);
        }
    }

    #[test]
    fn what_is_no_secret_passes_unchanged(
        secrets in proptest::collection::vec("[a-z]{4,12}", 0..5),
        bytes in proptest::collection::vec(prop_oneof![0..=b'$', b'{'..=255], 0..400),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let masker = Masker::new(&secrets).expect("few secrets");
        prop_assert_eq!(streamed(&masker, &cut(&bytes, &cuts)), bytes);
    }

    #[test]
    fn never_holds_back_what_can_not_become_a_secret(
        secrets in proptest::collection::vec(letters(4..12), 1..5),
        text in letters(0..60),
    ) {
        let (mut masker, mut out) = (Masker::new(&secrets).expect("few secrets"), Vec::new());
        masker.push(text.as_bytes(), &mut out);
        let held = masker.held.clone();
        prop_assert!(held.is_empty() || masker.secrets.forms.iter().any(|form| form.starts_with(&held)));
    }
}
