//! Every target with its seeds and a counted number of inputs; what must be met is met.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod drills;
#[cfg(test)]
mod real_tool;
