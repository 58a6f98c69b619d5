//! What the programs of Tollgate say to each other: the operator API's types and the hand-over between the control
//! process and the supervisor. Types and their JSON only; no IO.
#![forbid(unsafe_code)]

pub mod cell;
pub mod credentials;
pub mod exec;
pub mod forward;
pub mod health;
pub mod policy;
pub mod proof;
pub mod proxy_status;
pub mod status;
