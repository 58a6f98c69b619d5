//! The way out: resolve, classify, dial, keep connections.

mod dial;
mod outgoing;
mod pool;
mod resolve;

pub(crate) use dial::DialError;
pub use dial::Dialer;
pub use outgoing::Outgoing;
pub use pool::Pool;
pub(crate) use pool::{Key, SendError};
pub(crate) use resolve::ResolveError;
pub use resolve::{Pin, PinError, Resolver};
