//! The forms in which a secret may be met in a console.
//!
//! Pure. Adds none shorter than the shortest secret, since each form is masked wherever it stands.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::{LINE_BYTES_MIN, SECRET_BYTES_MIN};

/// Longer secrets are keys in files; they are not passed in URLs or headers, and each form costs memory.
const ENCODED_BYTES_MAX: usize = 4 * 1024;
/// The shortest secret looked for in the middle of base64: 9 characters and more are certain.
const INNER_BASE64_BYTES_MIN: usize = 8;

/// Adds all forms of a trimmed secret.
pub(super) fn add(secret: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    let mut plain = BTreeSet::from([secret.to_vec()]);
    if secret.contains(&b'\n') {
        let lf = without_carriage_returns(secret);
        plain.insert(lf.replace_line_ends(b"\r\n"));
        plain.extend(lf.lines().filter(|line| line.len() >= LINE_BYTES_MIN).map(<[u8]>::to_vec));
        plain.insert(lf.0);
    }
    for plain in plain {
        if let Ok(text) = str::from_utf8(&plain) {
            forms.extend(escaped(text).into_iter().map(String::into_bytes));
        }
        if plain.len() <= ENCODED_BYTES_MAX {
            forms.extend(percent_encoded(&plain).into_iter().map(String::into_bytes));
            forms.extend(base64(&plain).into_iter().map(String::into_bytes));
        }
        forms.insert(plain);
    }
    forms.retain(|form| form.len() >= SECRET_BYTES_MIN);
}

/// Bytes whose lines end in LF.
struct Lf(Vec<u8>);

fn without_carriage_returns(bytes: &[u8]) -> Lf {
    let mut lf = Vec::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        if *byte != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
            lf.push(*byte);
        }
    }
    Lf(lf)
}

impl Lf {
    fn replace_line_ends(&self, end: &[u8]) -> Vec<u8> {
        self.0.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(end)
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
    }
}

/// The text as the inside of a string, as the tools of the trade write it.
fn escaped(text: &str) -> BTreeSet<String> {
    let [serde, go, old_go, python] =
        [Json::Serde, Json::Go, Json::OldGo, Json::Python].map(|json| json_inside(text, json));
    // Not `$$${`: HCL doubles the sign right before the brace.
    let hcl = json_inside(text, Json::Hcl).replace("${", "$${").replace("%{", "%%{");
    let twice = [json_inside(&serde, Json::Serde), json_inside(&go, Json::Go), json_inside(&go, Json::Serde)];
    [serde, go, old_go, python, hcl].into_iter().chain(twice).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Json {
    /// Only what must be escaped.
    Serde,
    /// Also what HTML would trip over, as Go's `encoding/json` and Terraform's `jsonencode` do.
    Go,
    /// As Go before 1.22: it had no short names for a backspace and a form feed.
    OldGo,
    /// As the tools write their own language: it never had these.
    Hcl,
    /// Also all that is not ASCII, as Python's `json.dumps` does.
    Python,
}

impl Json {
    /// Whether a backspace is `\b`, and a form feed `\f`.
    fn is_short(self) -> bool {
        match self {
            Self::Serde | Self::Go | Self::Python => true,
            Self::OldGo | Self::Hcl => false,
        }
    }
}

fn json_inside(text: &str, json: Json) -> String {
    let mut inside = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' => inside.push_str("\\\""),
            '\\' => inside.push_str("\\\\"),
            '\n' => inside.push_str("\\n"),
            '\r' => inside.push_str("\\r"),
            '\t' => inside.push_str("\\t"),
            '\u{8}' if json.is_short() => inside.push_str("\\b"),
            '\u{c}' if json.is_short() => inside.push_str("\\f"),
            '\u{0}'..='\u{1f}' => push_unicode(&mut inside, char),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if matches!(json, Json::Go | Json::OldGo) => {
                push_unicode(&mut inside, char);
            }
            '\u{7f}'.. if json == Json::Python => push_unicode(&mut inside, char),
            char => inside.push(char),
        }
    }
    inside
}

fn push_unicode(text: &mut String, char: char) {
    for unit in char.encode_utf16(&mut [0; 2]) {
        let _infallible = write!(text, "\\u{unit:04x}");
    }
}

/// Percent-encoded: all but unreserved bytes, in either case of the digits, and as a form is.
fn percent_encoded(bytes: &[u8]) -> [String; 4] {
    // Go's `PathEscape`: what a segment of a path may hold as it is.
    let segment = |byte: u8| is_unreserved(byte) || b"$&+=:@".contains(&byte);
    let upper = encode(bytes, is_unreserved, |text, byte| _ = write!(text, "%{byte:02X}"));
    let lower = encode(bytes, is_unreserved, |text, byte| _ = write!(text, "%{byte:02x}"));
    let path = encode(bytes, segment, |text, byte| _ = write!(text, "%{byte:02X}"));
    let form = encode(bytes, is_unreserved, |text, byte| match byte {
        b' ' => text.push('+'),
        byte => _ = write!(text, "%{byte:02X}"),
    });
    [upper, lower, path, form]
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn encode(bytes: &[u8], is_kept: impl Fn(u8) -> bool, escape: impl Fn(&mut String, u8)) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, byte| {
        if is_kept(*byte) {
            text.push(char::from(*byte));
        } else {
            escape(&mut text, *byte);
        }
        text
    })
}

/// In base64: by itself, and what of it is the same within any longer text, at each of three offsets.
fn base64(bytes: &[u8]) -> BTreeSet<String> {
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let mut forms: BTreeSet<String> = engines.iter().map(|engine| engine.encode(bytes)).collect();
    if bytes.len() < INNER_BASE64_BYTES_MIN {
        return forms;
    }
    for before in 0..3 {
        let text = [&[0; 2][..before], bytes].concat();
        // A character stands for six bits: the first and the last that belong to the secret alone.
        let (first, end) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            forms.insert(engine.encode(&text)[first..end].to_owned());
        }
    }
    forms
}
