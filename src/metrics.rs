//! Metrics: one registry, one struct with every family. Names and labels of REFERENCE.md first.
