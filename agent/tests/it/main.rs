//! The agent from outside: its rules, its binary, and the whole way of a task.

mod tidy;
