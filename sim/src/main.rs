//! The simulator from a terminal: run a scenario and read it like a score, ask why a task waited.
fn main() {}
