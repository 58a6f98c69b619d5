//! Requests whose parts live long enough to ask them again and again.

use tollgate_model::{Ask, Authority, Caller, CanonicalPath, ConnectAsk, EncodedSlash, Method, Program, Scheme};
use tollgate_policy::{Decision, Policy};

use crate::policies::PROGRAM;

/// The owned parts of a request.
#[derive(Debug)]
pub struct Asker {
    caller: Caller,
    authority: Authority,
    method: Method,
    path: CanonicalPath<'static>,
}

impl Asker {
    /// A GET by the program that the policies name.
    ///
    /// # Panics
    /// Where host or path are none.
    #[must_use]
    pub fn new(host: &str, path: &str) -> Self {
        let program = |path: &str| Program { path: path.into(), sha256: [0; 32], changed: false };
        Self {
            caller: Caller::Known { pid: 2, program: program(PROGRAM), ancestors: vec![program("/usr/bin/bash")] },
            authority: Authority::parse(&format!("{host}:443")).expect("a host"),
            method: Method::parse("GET").expect("a method"),
            path: CanonicalPath::parse(path, EncodedSlash::Refuse).expect("a path").into_owned(),
        }
    }

    /// The request as the policy is asked.
    #[must_use]
    pub fn ask(&self) -> Ask<'_> {
        Ask {
            caller: &self.caller,
            authority: &self.authority,
            scheme: Scheme::Https,
            method: &self.method,
            path: &self.path,
            query: None,
        }
    }

    /// The connection that it needs.
    #[must_use]
    pub fn connect(&self) -> ConnectAsk<'_> {
        ConnectAsk { caller: &self.caller, authority: &self.authority }
    }

    /// What the policy says.
    #[must_use]
    pub fn is_allowed(&self, policy: &Policy) -> bool {
        matches!(policy.decide(&self.ask()), Decision::Allow(_))
    }
}
