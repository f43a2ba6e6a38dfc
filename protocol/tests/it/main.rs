//! The protocol from outside: every message as it stands on the wire, and texts that strangers send.

mod fixtures;
mod texts;
