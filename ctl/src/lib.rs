//! The command line and the session behind `tollgate run`.
//!
//! One process is the proxy and the control endpoint of one sandbox; it starts the supervisor as a child. Commands are
//! thin: they read arguments, call the session or the operator API, and print.
#![forbid(unsafe_code)]

// First: what follows prints by its macros.
#[macro_use]
mod output;

mod agent_config;
mod cli;
mod commands;
mod credentials;
mod definition;
mod demo;
mod detached;
mod failure;
mod forward;
mod home;
mod nemoclaw;
mod openshell;
mod operator;
mod policies;
mod presets;
mod progress;
mod revisions;
mod session;
mod standalone;
mod suggestion;
mod transfer;
mod watch;

pub use cli::main;
pub use nemoclaw::main as nemoclaw;
pub use openshell::main as openshell;
