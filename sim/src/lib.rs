//! Years in seconds: the real brains of the agent, unchanged, in a world made of data.
//!
//! A [`World`] holds Scalr (fake-scalr's own state machine), a cluster, controllers with a real
//! [`Controller`](scalr_core::controller::Controller) each, and in every pod a real
//! [`Supervisor`](scalr_core::supervisor::Supervisor) with a model of the tool. It has one clock and one
//! heap; a step takes the next event, hands it to whom it concerns, and files what follows. The same
//! [`Setup`](world::setup::Setup) gives the same history to the last bit, on every machine.
//!
//! In reading order: [`luck`] are the dice; [`world`] is everything that happens, and under it
//! [`setup`](world::setup) what it is told, [`snag`](world::snag) how things are made to go wrong,
//! [`truth`](world::truth) what really was.
//!
//! It must never read a clock, throw dice of its own, use a thread, or tell a brain anything that the real
//! agent would not know.

pub mod luck;
pub mod world;

pub use world::World;
