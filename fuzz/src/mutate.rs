//! Makes inputs out of inputs: small changes that know a little of the form that they change.

use serde_json::Value;

use crate::luck::Luck;

/// No input grows beyond this: what needs more says so in a few words.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;

/// What an input looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Lines of words.
    Lines,
    /// JSON.
    Json,
    /// A line, then JSON.
    NamedJson,
}

/// Words that are bad for whatever reads numbers, texts and JSON.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "127",
    "128",
    "255",
    "256",
    "4096",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "[[[[[[[[",
    "{\"a\":",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "é",
    "\u{10ffff}",
    "..",
    "/",
    "\\x00",
    "\\n",
    "\\xff",
];

/// Changes an input a few times, with another one to take from.
pub fn mutated(input: &[u8], other: &[u8], shape: Shape, words: &[&str], luck: &mut Luck) -> Vec<u8> {
    let mut changed = input.to_vec();
    for _ in 0..=luck.below(4) {
        changed = match (luck.below(3), shape) {
            (0, _) => bytes(changed, other, words, luck),
            (_, Shape::Lines) => lines(&changed, other, words, luck),
            (_, Shape::Json) => {
                json(&changed, other, luck).unwrap_or_else(|| bytes(changed, other, words, luck))
            }
            (_, Shape::NamedJson) => {
                named(&changed, other, luck).unwrap_or_else(|| bytes(changed, other, words, luck))
            }
        };
        changed.truncate(INPUT_BYTES_MAX);
    }
    changed
}

/// Changes that know nothing.
fn bytes(mut input: Vec<u8>, other: &[u8], words: &[&str], luck: &mut Luck) -> Vec<u8> {
    let at = luck.below(input.len() + 1);
    let to = (at + 1 + luck.below(40)).min(input.len());
    match luck.below(7) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = luck.byte();
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << luck.below(8);
            }
        }
        2 => drop(input.drain(at.min(to)..to)),
        3 => {
            let again = input[at.min(to)..to].to_vec();
            input.splice(at..at, again);
        }
        4 => {
            let from = luck.below(other.len() + 1);
            let until = (from + luck.below(64)).min(other.len());
            input.splice(at..at, other[from..until].iter().copied());
        }
        5 => input.truncate(at),
        _ => {
            let word = word(words, luck);
            input.splice(at..at, word.bytes());
        }
    }
    input
}

fn word<'a>(words: &[&'a str], luck: &mut Luck) -> &'a str {
    let list = if luck.below(3) == 0 || words.is_empty() { WORDS } else { words };
    luck.one_of(list).copied().unwrap_or_default()
}

/// Changes of lines and of words in them.
fn lines(input: &[u8], other: &[u8], words: &[&str], luck: &mut Luck) -> Vec<u8> {
    let split = |text: &[u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (mut lines, others) = (split(input), split(other));
    let (at, to) = (luck.below(lines.len()), luck.below(lines.len() + 1));
    match luck.below(8) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(to, lines[at].clone()),
        2 => {
            let last = lines.len() - 1;
            lines.swap(at, to.min(last));
        }
        3 => lines.insert(to, luck.one_of(&others).cloned().unwrap_or_default()),
        _ => {
            let mut parts: Vec<Vec<u8>> = lines[at].split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect();
            let place = luck.below(parts.len());
            match luck.below(6) {
                0 => drop(parts.remove(place)),
                1 => parts.insert(place, word(words, luck).as_bytes().to_vec()),
                2 => parts[place] = word(words, luck).as_bytes().to_vec(),
                3 => parts[place].extend(word(words, luck).bytes()),
                4 => parts[place] = luck.below(300).to_string().into_bytes(),
                _ => {
                    let again = parts[place].clone();
                    parts.insert(place, again);
                }
            }
            lines[at] = parts.join(&b' ');
        }
    }
    lines.join(&b'\n')
}

fn named(input: &[u8], other: &[u8], luck: &mut Luck) -> Option<Vec<u8>> {
    let (name, text) = crate::script::first_line(input);
    let (other_name, other_text) = crate::script::first_line(other);
    let name = if luck.below(10) == 0 { other_name } else { name };
    Some([name, b"\n", &json(text, other_text, luck)?].concat())
}

/// Changes of one place in a JSON text; none if it is no JSON.
fn json(input: &[u8], other: &[u8], luck: &mut Luck) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(input).ok()?;
    let other: Value = serde_json::from_slice(other).unwrap_or_default();
    let place = luck.below(count(&value));
    let new = match luck.below(4) {
        0 => taken(&other, &mut luck.below(count(&other))).cloned().unwrap_or_default(),
        1 => taken(&value, &mut luck.below(count(&value))).cloned().unwrap_or_default(),
        _ => scalar(luck),
    };
    match luck.below(5) {
        0 => shortened(&mut value, &mut place.clone(), luck),
        1 => lengthened(&mut value, &mut place.clone(), &new, luck),
        _ => {
            if let Some(found) = found(&mut value, &mut place.clone()) {
                *found = new;
            }
        }
    }
    Some(value.to_string().into_bytes())
}

fn scalar(luck: &mut Luck) -> Value {
    match luck.below(9) {
        0 => Value::Null,
        1 => (luck.below(2) == 0).into(),
        2 => luck.below(300).into(),
        3 => luck.number().into(),
        4 => (-1).into(),
        5 => 0.5.into(),
        6 => "x".repeat(luck.below(200)).into(),
        7 => Value::Array(Vec::new()),
        _ => word(&[], luck).into(),
    }
}

fn members(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(members) => members.values().collect(),
        Value::Array(elements) => elements.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn count(value: &Value) -> usize {
    1 + members(value).into_iter().map(count).sum::<usize>()
}

/// The how manieth value, in order.
fn taken<'a>(value: &'a Value, place: &mut usize) -> Option<&'a Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    members(value).into_iter().find_map(|member| taken(member, place))
}

fn found<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Object(members) => members.values_mut().find_map(|member| found(member, place)),
        Value::Array(elements) => elements.iter_mut().find_map(|element| found(element, place)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Takes something out of an object or a list, or cuts a text.
fn shortened(value: &mut Value, place: &mut usize, luck: &mut Luck) {
    match found(value, place) {
        Some(Value::Object(members)) => {
            let name = members.keys().nth(luck.below(members.len())).cloned().unwrap_or_default();
            members.remove(&name);
        }
        Some(Value::Array(elements)) if !elements.is_empty() => {
            elements.remove(luck.below(elements.len()));
        }
        Some(Value::String(text)) => drop(text.pop()),
        Some(other) => *other = Value::Null,
        None => {}
    }
}

/// Adds something to an object, a list or a text.
fn lengthened(value: &mut Value, place: &mut usize, new: &Value, luck: &mut Luck) {
    match found(value, place) {
        Some(Value::Object(members)) => {
            let name = members.keys().nth(luck.below(members.len())).cloned().unwrap_or_default();
            members.insert(format!("{name}{}", word(&["", "-ms", "s", "_"], luck)), new.clone());
        }
        Some(Value::Array(elements)) => elements.insert(luck.below(elements.len() + 1), new.clone()),
        Some(Value::String(text)) => text.push_str(word(&[], luck)),
        Some(other) => *other = Value::Array(vec![other.clone(), new.clone()]),
        None => {}
    }
}
