//! Benchmarks of the parts that every request passes, with Criterion. `cargo bench` runs them; `cargo bench -- --quick`
//! runs them briefly.
#![forbid(unsafe_code)]
