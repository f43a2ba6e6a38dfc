//! Kubernetes' quantities, as far as two have to be compared:
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

use serde_json::Value;

/// Whether a quantity of a template, a number or a text, is below another. What can't be read is not.
pub(super) fn is_below(quantity: &Value, other: &str) -> bool {
    let read = match quantity {
        Value::Number(number) => value(&number.to_string()),
        Value::String(text) => value(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    read.zip(value(other)).is_some_and(|(one, other)| one < other)
}

/// What a quantity amounts to. The precision of a float is enough: no two resources differ by less.
fn value(text: &str) -> Option<f64> {
    let text = text.trim();
    // `E` is exa where nothing follows, else an exponent.
    if let Ok(plain) = text.parse::<f64>() {
        return plain.is_finite().then_some(plain);
    }
    let (number, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))?;
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some(number * factor)
}

/// Two letters come before one.
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_whatever_their_form() {
        let below =
            [("250m", "1"), ("999Mi", "1Gi"), ("1e3", "2k"), ("0.5", "501m"), ("1G", "1Gi"), ("1", "1E")];
        for (small, large) in below {
            assert!(is_below(&small.into(), large), "{small} is below {large}");
            assert!(!is_below(&large.into(), small), "{large} is not below {small}");
        }
        assert!(is_below(&1.into(), "1500m"));
        assert!(!is_below(&"much".into(), "1"));
        assert!(!is_below(&"1".into(), "much"));
    }
}
