//! The agent from outside: its rules, its binary, and the whole way of a task.

#[cfg(test)]
mod local_cluster;
#[cfg(test)]
mod real_cluster;
#[cfg(test)]
mod rig;
mod runner;
#[cfg(test)]
mod scalr_contract;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod terraform;
mod tidy;
