//! Framing against a naive parser.
