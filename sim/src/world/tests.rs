//! What holds of a world with the real brains in it, by example.

mod crashes;
mod fixture;
mod stories;
mod trouble;
