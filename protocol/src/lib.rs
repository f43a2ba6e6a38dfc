//! What the agent and the server say to each other: the agent protocol, version 0.1.
//!
//! Types and their JSON, nothing else: no IO, no clock, no opinion on when to say what. The protocol is
//! this project's own, shaped after Scalr's public JSON:API; Scalr's own agent protocol is not public.
//! `docs/protocol.md` is the reference for whoever implements the other end.
//!
//! In reading order: [`id`] names things, [`agent`] is what an agent says, [`task`] what the worker of one
//! task says, [`console`], [`blob`] and [`state`] carry bytes, [`error`] lists every refusal, and
//! [`document`] is the envelope round them all.

pub mod agent;
pub mod blob;
pub mod console;
pub mod document;
pub mod error;
pub mod id;
pub mod secret;
pub mod state;
pub mod task;

/// The version both ends name in [`VERSION_HEADER`].
pub const VERSION: &str = "0.1";
/// The header that carries the protocol's version, both ways.
pub const VERSION_HEADER: &str = "agent-protocol";
/// The path under which every call lives.
pub const BASE_PATH: &str = "/api/agent/v1";
/// The content type of every message that is not an octet stream.
pub const MEDIA_TYPE: &str = "application/vnd.api+json";
/// The header that makes a write idempotent: its answer is replayed for ten minutes.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
