//! Files into a sandbox and out of it, as a tar stream through a program beside the agent.
//!
//! `tar` inside has the sandbox's own restrictions. What it sends is not trusted: [`unpack`] writes below one folder and one name.

mod pack;
mod unpack;

pub use pack::{PackError, pack, size};
pub use unpack::{UnpackError, unpack};
