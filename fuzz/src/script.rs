//! The little texts that inputs are: lines of words, with escapes for what would end a word.
//!
//! Every text means something: what can't be understood is passed over.

/// The lines of an input, each as its words.
pub(crate) fn lines(input: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    input.split(|byte| *byte == b'\n').map(words).filter(|words| !words.is_empty())
}

/// The words of a line.
pub(crate) fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect()
}

/// A first line and the rest.
pub(crate) fn first_line(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &[]),
    }
}

/// A decimal number.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A number below a bound, so that no input asks for more than a machine has.
pub(crate) fn small(word: Option<&&[u8]>, end: usize) -> usize {
    let number = word.and_then(|word| number(word)).unwrap_or_default();
    usize::try_from(number).unwrap_or(usize::MAX).checked_rem(end).unwrap_or_default()
}

/// What a word stands for: `\n`, `\r`, `\t`, `\0`, `\s` for a blank, `\\`, `\x41`; a lone `-` for nothing.
pub(crate) fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = if word == b"-" { &[] } else { word };
    while let [first, after @ ..] = rest {
        let (byte, length) = match (first, after) {
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'0', ..]) => (0, 2),
            (b'\\', [b's', ..]) => (b' ', 2),
            (b'\\', [b'x', high, low, ..]) => match hex(&[*high, *low]) {
                Some(byte) => (byte, 4),
                None => (b'x', 2),
            },
            (b'\\', [other, ..]) => (*other, 2),
            (other, _) => (*other, 1),
        };
        plain.push(byte);
        rest = &rest[length..];
    }
    plain
}

/// The same as text.
pub(crate) fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped(word)).into_owned()
}

/// `WORD*N`: what the word stands for, so many times, up to a bound in bytes.
pub(crate) fn repeated(word: &[u8], bytes_max: usize) -> Vec<u8> {
    let times =
        word.iter().rposition(|byte| *byte == b'*').and_then(|at| Some((at, number(&word[at + 1..])?)));
    let Some((at, times)) = times else { return unescaped(word) };
    let once = unescaped(&word[..at]);
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    once.repeat(times.min(bytes_max.checked_div(once.len()).unwrap_or(0)))
}

/// Two hexadecimal digits.
pub(crate) fn hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.starts_with('+') { None } else { u8::from_str_radix(digits, 16).ok() }
}
