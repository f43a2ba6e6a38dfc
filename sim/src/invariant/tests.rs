//! Every check has teeth.
