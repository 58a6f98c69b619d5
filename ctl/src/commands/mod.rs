//! What the subcommands do.

mod audit;
mod credential;
mod doctor;
mod forward;
pub mod logs;
mod policy;
mod provider;
mod proxy;
mod run;
pub mod sandbox;
mod status;
mod teaching;

pub use audit::{AuditCommand, audit, read_key};
pub use credential::{CredentialCommand, credential};
pub use doctor::{DoctorArguments, doctor};
pub use forward::{ForwardCommand, forward};
pub use policy::{LiveCommand, PolicyCommand, Running, live, policy, report};
pub use provider::{NewProvider, ProviderCommand, create_provider, provider, renew_provider};
pub use proxy::{ProxyArguments, proxy};
pub use run::{Signals, asking_runtime, exit_code, run, runtime, wait_for};
pub use sandbox::{SandboxCommand, sandbox};
pub use status::status;
pub use teaching::{CompletionsArguments, ManArguments, completions, man};
