//! The way out: resolve, classify, dial, keep connections.

mod dial;
mod line;
mod outgoing;
mod pool;
mod resolve;
mod shelf;

pub use dial::Dialer;
pub(crate) use dial::{DialError, HTTP_1, HTTP_2, Offer, Spoken};
pub(crate) use line::{Line, Loan, Turn};
pub(crate) use outgoing::Noted;
pub use outgoing::Outgoing;
pub use pool::Pool;
pub(crate) use pool::{Key, SWEEP_INTERVAL, SendError, absolute, is_grpc};
pub(crate) use resolve::ResolveError;
pub use resolve::{Pin, PinError, Resolver};
