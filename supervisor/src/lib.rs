//! The supervisor: builds a sandbox by system calls alone, as an ordinary user, and is the first process in it.
//!
//! ```text
//! control process ──spawn──▶ supervisor ──fork──▶ process 1 ──fork──▶ agent
//!        ▲                   (namespaces)         (net, files, Landlock, seccomp)
//!        └──────── sockets made inside, handed out ─────┘
//! ```
//!
//! Synchronous and single-threaded, and it never sees a secret: what it is told is a [`Cell`](tollgate_wire::cell::Cell),
//! which has no place for one. It is deliberately not a container engine: no images, no storage, no daemon.
#![deny(unsafe_code)]

mod agent;
mod door;
mod error;
mod exec;
mod fence;
mod filter;
mod group;
mod handover;
mod image;
mod init;
mod launch;
mod net;
pub mod obstacle;
mod privileges;
mod probe;
mod proof;
mod stage;
#[allow(unsafe_code)]
mod sys;
mod terminal;
mod view;
mod visits;

pub use door::{Door, Visitor, give};
pub use error::LaunchError;
pub use exec::{Ends, ExecError, Executing, Visit, set_window_size, window_size};
pub use group::available as group_available;
pub use handover::{Family, Outcome};
pub use image::{Found, in_image};
pub use launch::{Confined, Sockets, Streams, launch, launch_with};
pub use net::EXPLICIT_PORT;

/// Becomes the supervisor if this process was started as one, and then never returns. To be called first in `main`.
pub fn enter_if_supervisor() {
    let mut arguments = std::env::args();
    if arguments.next().as_deref() != Some(launch::SUPERVISOR) {
        return;
    }
    let Some(channel) = arguments.next().and_then(|number| number.parse().ok()) else { std::process::exit(2) };
    stage::run(channel)
}
