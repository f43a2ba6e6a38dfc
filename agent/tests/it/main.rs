//! The agent from outside: its rules, its binary, and the whole way of a task.

#[cfg(test)]
mod local_cluster;
mod runner;
mod scalr_contract;
#[cfg(test)]
mod terraform;
mod tidy;
