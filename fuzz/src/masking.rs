//! The console's masking: secrets, a text that is full of them in every form, and where it is cut.
//!
//! `secret WORD` a line, `say WORD…` for text (words without blanks between them; `{N:FORM}` is the how
//! manieth secret in that form), `cut N…` for the lengths of the pieces, over and over, and `console` to go
//! through a spool. The judge makes the forms with other people's code, where there is some.

use std::fmt::Write as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use scalr_agent::worker::{
    console::Console,
    masking::{LINE_BYTES_MIN, MASK, Masker, SECRET_BYTES_MIN},
};

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "masking",
    about: "no secret is shown in any form that is promised, and cuts change nothing",
    shape: Shape::Lines,
    words: &[
        "secret",
        "say",
        "cut",
        "console",
        "{0:plain}",
        "{0:json}",
        "{0:go}",
        "{0:python}",
        "{0:hcl}",
        "{0:twice}",
        "{0:percent}",
        "{0:lower}",
        "{0:path}",
        "{0:form}",
        "{0:base64}",
        "{0:url64}",
        "{0:within}",
        "{0:line}",
        "{0:crlf}",
        "{1:plain}",
        "{1:json}",
        "{1:within}",
        "{2:plain}",
        "hunter22",
        "hunter",
        "ab",
        "\\n",
        "\\s",
        "\\x08",
        "\\x0c",
        "\\x1b[0m",
        "\"",
        "<&>",
        "${a}",
        "%{a}",
        "é",
        "\u{1f511}",
        "\u{2028}",
        "=",
        "+/",
    ],
    classes: &[
        "plain",
        "json",
        "go",
        "python",
        "hcl",
        "twice",
        "percent",
        "lower",
        "path",
        "form",
        "base64",
        "url64",
        "within",
        "line",
        "crlf",
        "masked",
        "nothing to mask",
        "too short a secret",
        "a secret that is cut",
        "a form longer than any text",
        "through the console",
    ],
    inputs: 6_000,
    run,
};

/// All forms of a text of this length cost some kilobytes.
const SECRET_BYTES_MAX: usize = 600;
const TEXT_BYTES_MAX: usize = 20_000;

#[derive(Default)]
struct Story {
    secrets: Vec<String>,
    text: Vec<u8>,
    /// Where forms of secrets stand in the text.
    spans: Vec<(usize, usize)>,
    cuts: Vec<usize>,
    is_console: bool,
}

impl Story {
    fn of(input: &[u8], met: &mut Met) -> Self {
        let mut story = Self::default();
        for words in script::lines(input) {
            match words[0] {
                b"secret" if story.secrets.len() < 6 => {
                    let secret = words.get(1).map(|word| script::repeated(word, SECRET_BYTES_MAX));
                    story.secrets.push(String::from_utf8_lossy(&secret.unwrap_or_default()).into_owned());
                }
                b"say" => words[1..].iter().for_each(|word| story.say(word, met)),
                b"cut" => story.cuts.extend((1..words.len()).map(|at| 1 + script::small(words.get(at), 400))),
                b"console" => story.is_console = true,
                _ => {}
            }
        }
        story
    }

    fn say(&mut self, word: &[u8], met: &mut Met) {
        if self.text.len() > TEXT_BYTES_MAX {
            return;
        }
        let Some((class, form)) = self.form(word) else {
            self.text.extend(script::repeated(word, SECRET_BYTES_MAX));
            return;
        };
        met.see(class);
        let from = self.text.len();
        self.text.extend_from_slice(form.as_bytes());
        self.spans.push((from, self.text.len()));
    }

    /// What `{N:FORM}` stands for.
    fn form(&self, word: &[u8]) -> Option<(&'static str, String)> {
        let word = std::str::from_utf8(word).ok()?.strip_prefix('{')?.strip_suffix('}')?;
        let (number, name) = word.split_once(':')?;
        let secret = self.secrets.get(number.parse::<usize>().ok()?)?.trim_ascii();
        let (class, make) = FORMS.iter().find(|(class, _)| *class == name)?;
        Some((class, make(secret)))
    }

    fn pieces(&self) -> Vec<&[u8]> {
        let (mut pieces, mut rest) = (Vec::new(), self.text.as_slice());
        for cut in self.cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            pieces.push(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        if self.cuts.is_empty() { vec![rest] } else { pieces }
    }

    fn is_cut_within_a_secret(&self) -> bool {
        let ends = self.pieces().into_iter().scan(0, |end, piece| {
            *end += piece.len();
            Some(*end)
        });
        ends.into_iter().any(|end| self.spans.iter().any(|(from, to)| *from < end && end < *to))
    }
}

type Form = fn(&str) -> String;

/// How a secret may be written, one way each.
const FORMS: &[(&str, Form)] = &[
    ("plain", str::to_owned),
    ("json", json),
    ("go", go),
    ("python", python),
    ("hcl", hcl),
    ("twice", |text| json(&json(text))),
    ("percent", |text| percent(text, "-._~", false)),
    ("lower", |text| percent(text, "-._~", false).to_ascii_lowercase_digits()),
    ("path", |text| percent(text, "-._~$&+=:@", false)),
    ("form", |text| percent(text, "-._~", true)),
    ("base64", |text| STANDARD.encode(text)),
    ("url64", |text| URL_SAFE.encode(text)),
    ("within", |text| STANDARD.encode(format!("user:{text} and more"))),
    ("line", |text| text.lines().last().unwrap_or_default().trim_ascii().to_owned()),
    ("crlf", |text| text.replace("\r\n", "\n").replace('\n', "\r\n")),
];

trait Lower {
    /// `%2F` as `%2f`, and nothing else.
    fn to_ascii_lowercase_digits(&self) -> String;
}

impl Lower for String {
    fn to_ascii_lowercase_digits(&self) -> String {
        let mut parts = self.split('%');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (digits, rest) = part.split_at(2.min(part.len()));
            text = format!("{text}%{}{rest}", digits.to_ascii_lowercase());
        }
        text
    }
}

fn json(text: &str) -> String {
    let quoted = sure(serde_json::to_string(text), "a text");
    quoted[1..quoted.len() - 1].to_owned()
}

/// As Go's `encoding/json` and so Terraform's `jsonencode` do.
fn go(text: &str) -> String {
    let mut escaped = json(text);
    for (char, escape) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        escaped = escaped.replace(char, escape);
    }
    escaped
}

/// As Python's `json.dumps` does.
fn python(text: &str) -> String {
    json(text).chars().fold(String::new(), |mut ascii, char| {
        if (' '..='~').contains(&char) {
            ascii.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(ascii, "\\u{unit:04x}");
            }
        }
        ascii
    })
}

/// As `terraform show` writes a text of its own language: as JSON, but it has no `\b` and no `\f`.
fn hcl(text: &str) -> String {
    let escaped = text.chars().map(|char| match char {
        '\u{8}' => "\\u0008".to_owned(),
        '\u{c}' => "\\u000c".to_owned(),
        other => json(&other.to_string()),
    });
    escaped.collect::<String>().replace("${", "$${").replace("%{", "%%{")
}

fn percent(text: &str, kept: &str, is_form: bool) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || kept.contains(char::from(byte)) && byte.is_ascii() {
            encoded.push(char::from(byte));
        } else if is_form && byte == b' ' {
            encoded.push('+');
        } else {
            let _infallible = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Everything that must not be seen of a secret.
fn hidden(secret: &str) -> Vec<String> {
    let secret = secret.trim_ascii();
    if secret.len() < SECRET_BYTES_MIN {
        return Vec::new();
    }
    let mut plain = vec![secret.to_owned()];
    if secret.contains('\n') {
        let lf = secret.replace("\r\n", "\n");
        plain.push(lf.replace('\n', "\r\n"));
        plain.extend(
            lf.split('\n')
                .map(str::trim_ascii)
                .filter(|line| line.len() >= LINE_BYTES_MIN)
                .map(str::to_owned),
        );
        plain.push(lf);
    }
    let mut hidden = Vec::new();
    for text in &plain {
        hidden.extend(
            FORMS
                .iter()
                .filter(|(name, _)| !["within", "line", "crlf"].contains(name))
                .map(|form| form.1(text)),
        );
        hidden.extend([
            STANDARD_NO_PAD.encode(text),
            URL_SAFE_NO_PAD.encode(text),
            go(&go(text)),
            json(&go(text)),
        ]);
        if text.len() >= 8 {
            hidden.extend(
                (0..3).flat_map(|before| [within(text, before, &STANDARD), within(text, before, &URL_SAFE)]),
            );
        }
    }
    // A mask is made of asterisks, and may complete what has some.
    hidden.retain(|form| form.len() >= SECRET_BYTES_MIN && !form.contains('*'));
    hidden
}

/// The characters of base64 that are the secret's alone, with so many bytes before it.
fn within(secret: &str, before: usize, engine: &impl base64::Engine) -> String {
    let whole = engine.encode(format!("{}{secret}{}", &"::"[..before], "zzz"));
    let (first, end) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
    whole[first..end].to_owned()
}

fn run(input: &[u8], met: &mut Met) {
    let story = Story::of(input, met);
    let masker = sure(Masker::new(&story.secrets), "a few secrets");
    if masker.too_short() > 0 {
        met.see("too short a secret");
    }
    let whole = streamed(&masker, &[&story.text]);
    let pieces = story.pieces();
    assert_eq!(shown(&streamed(&masker, &pieces)), shown(&whole), "in pieces of {:?}", story.cuts);
    if let Ok(text) = std::str::from_utf8(&story.text) {
        assert_eq!(masker.mask(text), String::from_utf8_lossy(&whole));
    }
    for form in story.secrets.iter().flat_map(|secret| hidden(secret)) {
        let is_seen = whole.windows(form.len()).any(|window| window == form.as_bytes());
        assert!(!is_seen, "{form:?} is seen in {:?} of {:?}", shown(&whole), story.secrets);
        if form.len() > story.text.len() {
            met.see("a form longer than any text");
        }
    }
    if whole == story.text {
        met.see("nothing to mask");
    } else {
        met.see("masked");
        assert!(whole.windows(MASK.len()).any(|window| window == MASK), "only masks change a text");
    }
    if story.is_cut_within_a_secret() {
        met.see("a secret that is cut");
    }
    if story.is_console {
        met.see("through the console");
        // Where the end could have become a secret, a line end comes after it, so that nothing completes it.
        let mut spooled = spooled(masker, &pieces);
        if spooled.len() > whole.len() && spooled.ends_with(b"\n") {
            spooled.pop();
        }
        assert_eq!(shown(&spooled), shown(&whole), "through the console");
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn streamed(masker: &Masker, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut masker, mut out) = (masker.fresh(), Vec::new());
    for piece in pieces {
        masker.push(piece, &mut out);
    }
    masker.flush(&mut out);
    out
}

/// What is on disk when it came through a console.
fn spooled(masker: Masker, pieces: &[&[u8]]) -> Vec<u8> {
    let folder = sure(crate::place(), "a folder");
    let path = folder.path().join("console");
    let mut console = sure(Console::create(&path, masker), "a file");
    for piece in pieces {
        sure(console.write(piece), "a disk with room");
    }
    sure(console.end_of_output(), "a disk with room");
    let bytes = sure(std::fs::read(&path), "it is there");
    assert_eq!(bytes.len() as u64, console.bytes());
    bytes
}
