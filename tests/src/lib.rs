//! The end-to-end harness: a real `tollgate`, a real sandbox, real clients, and a TLS server of our own that remembers
//! every byte that reached it.
//!
//! Everything stays on this machine. As root the harness runs `tollgate` as an ordinary user, since that is who it is for.
#![forbid(unsafe_code)]

mod bench;
mod escape;
pub mod frames;
pub mod loopback;
mod origin;
pub mod raw;
mod standalone;
mod staying;
mod terminal;
pub mod websocket;

pub use bench::{ASKING, Bench, Finished, Started, built, finish, front_door, program, through, without};
pub use escape::check_stopped;
pub use origin::{Arrived, Origin};
pub use standalone::{AGENTS, ALICE, BOB, Got, LISTENERS, Proxy, ask, policy_for, redirected, two_agents};
pub use staying::{Staying, family, free_port, left_of, of_session, until};
pub use terminal::AtTerminal;
