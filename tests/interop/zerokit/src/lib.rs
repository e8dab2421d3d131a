//! Empty: this manifest is there for `cargo fetch`.
