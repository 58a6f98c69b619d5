//! Ports of this machine's loopback that lead into a running sandbox: `POST /v1/forwards`, `DELETE /v1/forwards/PORT`. Both answer
//! with all that there are then, each as `HOST:INSIDE`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/forwards`: one more, until it is let go or the sandbox ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartForward {
    /// `PORT`, or `HOST:INSIDE` where they differ.
    pub ports: String,
}
