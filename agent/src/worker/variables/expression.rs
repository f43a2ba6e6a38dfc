//! Whether a text can stand in brackets without reaching out of them: the light look at an HCL value.
//!
//! A value that closes a bracket too many would set other variables; one that leaves a comment open would
//! swallow them. It looks at brackets, quotes, heredocs and comments, as the tools' scanner tells them apart,
//! and must never refuse an expression: whether it is one, the tool says.

/// What the scanner is within.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within<'a> {
    /// Brackets that end with this, or a template's `${…}`.
    Brackets(u8),
    Quotes,
    /// Text up to a line that is this word.
    Heredoc(&'a [u8]),
}

/// Says in half a sentence what is left open, or closed without having been opened.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    // It stands on lines of its own, so its last line ends too.
    let text = format!("{text}\n");
    let (mut rest, mut within) = (text.as_bytes(), Vec::new());
    while !rest.is_empty() {
        let length = match within.last() {
            Some(Within::Quotes) => in_quotes(rest, &mut within)?,
            Some(Within::Heredoc(word)) => {
                let word = *word;
                in_heredoc(rest, word, &mut within)
            }
            Some(Within::Brackets(_)) | None => in_expression(rest, &mut within)?,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    match within.last() {
        None => Ok(()),
        Some(Within::Brackets(_)) => Err("leaves a bracket open"),
        Some(Within::Quotes) => Err("leaves a quote open"),
        Some(Within::Heredoc(_)) => Err("leaves a heredoc open"),
    }
}

/// Takes one thing of an expression; how long it is.
fn in_expression<'a>(rest: &'a [u8], within: &mut Vec<Within<'a>>) -> Result<usize, &'static str> {
    match rest {
        [b'#', ..] | [b'/', b'/', ..] => return Ok(line_length(rest)),
        [b'/', b'*', after @ ..] => {
            let end = after.windows(2).position(|two| two == b"*/").ok_or("leaves a comment open")?;
            return Ok(end + 4);
        }
        [b'<', b'<', after @ ..] => return Ok(heredoc_begins(after, within)),
        [b'(', ..] => within.push(Within::Brackets(b')')),
        [b'[', ..] => within.push(Within::Brackets(b']')),
        [b'{', ..] => within.push(Within::Brackets(b'}')),
        [b'"', ..] => within.push(Within::Quotes),
        [close @ (b')' | b']' | b'}'), ..] if within.pop() != Some(Within::Brackets(*close)) => {
            return Err("closes a bracket that it has not opened");
        }
        _ => {}
    }
    Ok(1)
}

/// What follows `<<`: perhaps `-`, then a word that ends its line. Where it is something else, it is none.
fn heredoc_begins<'a>(after: &'a [u8], within: &mut Vec<Within<'a>>) -> usize {
    let line = after.get(..line_length(after)).unwrap_or_default();
    let word = line.strip_prefix(b"-").unwrap_or(line);
    let word = word.strip_suffix(b"\r").unwrap_or(word);
    let is_letter =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || !byte.is_ascii();
    if word.is_empty() || !word.iter().all(is_letter) {
        return 2;
    }
    within.push(Within::Heredoc(word));
    let begin = 2 + line.len() + 1;
    begin + ending_line(after.get(line.len() + 1..).unwrap_or_default(), word, within)
}

fn in_heredoc<'a>(rest: &'a [u8], word: &'a [u8], within: &mut Vec<Within<'a>>) -> usize {
    if let Some(length) = template(rest, within) {
        return length;
    }
    match rest {
        [b'\n', after @ ..] => 1 + ending_line(after, word, within),
        _ => 1,
    }
}

/// Takes the line that ends a heredoc, if it is that; its line end stays.
fn ending_line(rest: &[u8], word: &[u8], within: &mut Vec<Within<'_>>) -> usize {
    let line = rest.get(..line_length(rest)).unwrap_or_default();
    if line.trim_ascii() != word {
        return 0;
    }
    within.pop();
    line.len()
}

fn in_quotes<'a>(rest: &'a [u8], within: &mut Vec<Within<'a>>) -> Result<usize, &'static str> {
    if let Some(length) = template(rest, within) {
        return Ok(length);
    }
    match rest {
        [b'\\', ..] => return Ok(2),
        [b'"', ..] => drop(within.pop()),
        // The tools take no line end in quotes.
        [b'\n', ..] => return Err("leaves a quote open"),
        _ => {}
    }
    Ok(1)
}

/// `${` and `%{` begin an expression within a text, `$${` and `%%{` stand for themselves.
fn template<'a>(rest: &'a [u8], within: &mut Vec<Within<'a>>) -> Option<usize> {
    match rest {
        [b'$', b'$', b'{', ..] | [b'%', b'%', b'{', ..] => Some(3),
        [b'$' | b'%', b'{', ..] => {
            within.push(Within::Brackets(b'}'));
            Some(2)
        }
        _ => None,
    }
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_every_form_may_stand() {
        for value in [
            "1",
            "[1, 2] # two",
            "{ a = \"}\", b = [\")\"] } // )",
            "\"a \\\" ) ${upper(\"}\")} $${ %{ if true }x%{ endif }\"",
            "/* ) */ 1",
            "<<EOT\n ) ${a[0]} \" /*\nEOT",
            "<<-EOT\n  x\n  EOT\n",
            "[<<A\n(\nA\n, 1]",
            "1 < 2 ? 1 << 1 : 3",
            "%",
            "",
        ] {
            assert_eq!(check(value), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn what_reaches_out_is_told() {
        for (value, why) in [
            ("1)\nb = (2", "closes a bracket that it has not opened"),
            ("[1}", "closes a bracket that it has not opened"),
            ("\"${1)}\"", "closes a bracket that it has not opened"),
            ("1 /*", "leaves a comment open"),
            ("\"x", "leaves a quote open"),
            ("\"x\n\"", "leaves a quote open"),
            ("\"${\"", "leaves a quote open"),
            ("[1", "leaves a bracket open"),
            ("<<EOT\nx", "leaves a heredoc open"),
            ("<<EOT", "leaves a heredoc open"),
            ("<<EOT\nx EOT\n", "leaves a heredoc open"),
        ] {
            assert_eq!(check(value), Err(why), "{value:?}");
        }
    }
}
