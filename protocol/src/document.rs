//! The JSON:API envelope: `{"data": {"type": …, "id": …, "attributes": …}}`.

use serde::{Deserialize, Serialize};

/// A message that travels as the attributes of one resource.
pub trait Message {
    /// The resource's type, as it stands in `data.type`.
    const TYPE: &'static str;
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource<A> {
    /// What it is, such as `agents`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id; absent where the server chooses it, or where the message is no lasting thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Everything else.
    pub attributes: A,
}

/// One resource as a whole body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document<A> {
    /// The resource.
    pub data: Resource<A>,
}

impl<A: Message> Document<A> {
    /// Wraps a message.
    pub fn of(attributes: A) -> Self {
        Self { data: Resource { kind: A::TYPE.to_owned(), id: None, attributes } }
    }
}
