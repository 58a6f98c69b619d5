//! The sandbox as the agent finds it: every test starts a real one, as an ordinary user.
//!
//! The tests drive the example `cell`, which stands in for the control process. Run by root they change to an ordinary
//! user first; what only root's sandboxes do is tested when root runs them. Agents are shell and Perl, which every
//! distribution has; no test waits for time to pass.

mod attacks;
mod bench;
mod ending;
mod files;
mod missing;
mod network;
mod starting;
