//! Stories and properties.
