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
//! [`truth`](world::truth) what really was. [`scenario`] is a world as a file and [`fault`] what goes wrong
//! in it; [`generate`] makes them up, [`workload`] are those that everybody knows, and [`pairs`] puts faults
//! into these; [`trial`] runs one, [`invariant`] says what must hold; where it does not, [`shrink`] makes it
//! small and [`story`] tells it. [`why`] answers for one task, [`erlang`] for the whole simulator.
//!
//! It must never read a clock, throw dice of its own, use a thread, or tell a brain anything that the real
//! agent would not know.

pub mod luck;
pub mod world;

pub mod fault;
pub mod scenario;

pub mod generate;
pub mod invariant;
pub mod trial;
mod words;

pub mod erlang;
pub mod pairs;
pub mod workload;

pub mod shrink;
pub mod story;
pub mod why;

#[cfg(feature = "mutants")]
pub mod mutants;

pub use world::World;
