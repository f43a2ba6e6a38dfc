//! The real runner in a process of its own, spoken to through the worker's own end of the socket.

#[expect(clippy::expect_used, reason = "a bench that can't be set up fails its test")]
mod bench;
mod ends;
mod output;
#[expect(clippy::expect_used, reason = "a server that can't be set up fails its test")]
mod relay;
mod signals;
