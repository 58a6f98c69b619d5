//! `tollgate demo`: the main job from end to end, shown line by line, on this machine alone.
//!
//! An HTTPS service runs in this process; a small agent runs in a sandbox and tries what an agent may and may not do. It
//! says what it saw; then this side says what the service saw and what the journal proves. Any surprise is a failure.

mod agent;
mod client;
mod proof;
mod service;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use secrecy::SecretString;
use tempfile::TempDir;
use tollgate_proxy::{JournalFolder, Pin};
use tollgate_secrets::SecretName;
use tollgate_supervisor::Outcome;

use crate::commands::runtime;
use crate::credentials::{SecretArgument, Source};
use crate::failure::{Failure, Kind};
use crate::session::{ExtraFiles, Order, Session};

pub use agent::{Role, play};
pub use client::{Way, https};
use service::Edit;
pub use service::Service;

/// The host that the policy allows, with a credential bound to it.
const API: &str = "api.demo.test";
/// A host that the policy allows without one.
const FILES: &str = "files.demo.test";
/// The variable in which the agent finds its token.
const TOKEN: &str = "DEMO_TOKEN";
/// What the service wants to see. It exists in this process and in a file that the agent cannot see.
const REAL_TOKEN: &str = "ghp_theRealTokenThatTheAgentNeverSees042";

/// Runs the demo.
pub fn run() -> Result<ExitCode, Failure> {
    let stage = Stage::set()?;
    let service = Service::bind(&stage.path("service-ca.pem"), &[API, FILES]).map_err(|e| broken(&e))?;
    println!("Tollgate demo: an agent in a sandbox, a service on {}, nothing else.\n", service.address());
    let session = Session::prepare(stage.order(&service)?)?;
    let journal = JournalFolder::new(session.journal_path());
    let (outcome, seen) = runtime()?.block_on(async {
        let seen = service
            .serve(Some(Edit { file: stage.path("policy.yaml"), text: stage.policy(DRAFTS) }))
            .map_err(|e| broken(&e))?;
        let mut running = session.start().await?;
        let outcome = running.ended().await;
        running.close(&outcome).await?;
        Ok((outcome, seen))
    })?;
    if outcome != Outcome::Exited(0) {
        return Err(Failure::new(Kind::Other, format!("the demo's agent was surprised: it ended with {outcome:?}")));
    }
    proof::show(&seen.all(), &journal, &stage.path("home/journal.pub"))?;
    println!("\nAll of it as it should be.");
    Ok(ExitCode::SUCCESS)
}

/// The files of the demo, gone when it ends.
struct Stage {
    folder: TempDir,
}

/// The rule that the operator adds while the agent runs.
const DRAFTS: &str = "          - allow: { method: GET, path: /v1/drafts }\n";

impl Stage {
    fn set() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("tollgate-demo-").tempdir().map_err(|e| broken(&e))?;
        let stage = Self { folder };
        stage.fill().map_err(|e| broken(&e))?;
        Ok(stage)
    }

    fn fill(&self) -> std::io::Result<()> {
        // The agent may run as another user, who must be able to enter.
        std::fs::set_permissions(self.folder.path(), PermissionsExt::from_mode(0o755))?;
        for name in ["bin", "work", "home"] {
            std::fs::create_dir(self.path(name))?;
        }
        std::fs::set_permissions(self.path("home"), PermissionsExt::from_mode(0o700))?;
        let program = std::env::current_exe()?;
        for name in ["bin/launcher", "bin/agent", "bin/impostor"] {
            std::fs::copy(&program, self.path(name))?;
            std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o755))?;
        }
        crate::home::write_private(&self.path("token"), REAL_TOKEN.as_bytes())?;
        std::fs::write(self.path("policy.yaml"), self.policy(""))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn policy(&self, more: &str) -> String {
        policy(&self.path("bin/agent"), more)
    }

    fn order(&self, service: &Service) -> Result<Order, Failure> {
        let pin = |host: &str| format!("{host}:443:{}", service.address()).parse::<Pin>();
        let pins = [API, FILES].map(pin).into_iter().collect::<Result<_, _>>();
        let name = SecretName::parse(TOKEN).map_err(|e| broken(&e))?;
        Ok(Order {
            home: Some(self.path("home")),
            workdir: Some(self.path("work")),
            name: Some("demo".to_owned()),
            policy: self.path("policy.yaml"),
            secrets: vec![SecretArgument { name, source: Source::File(self.path("token")) }],
            pins: pins.map_err(|e| broken(&e))?,
            upstream_cas: vec![self.path("service-ca.pem")],
            files: ExtraFiles { read_only: vec![self.path("bin")], ..ExtraFiles::default() },
            command: vec![
                self.path("bin/launcher").display().to_string(),
                "demo-agent".to_owned(),
                "launcher".to_owned(),
            ],
            ..Order::default()
        })
    }
}

fn policy(agent: &Path, more: &str) -> String {
    let agent = agent.display();
    format!(
        "version: 1
network_policies:
  demo:
    endpoints:
      - host: {API}
        port: 443
        protocol: rest
        enforcement: enforce
        rules:
          - allow: {{ method: GET, path: /v1/hello }}
          - allow: {{ method: POST, path: /v1/policy-please }}
{more}      - host: {FILES}
        port: 443
        protocol: rest
        enforcement: enforce
        access: read-only
    binaries:
      - path: {agent}
x-tollgate:
  credentials:
    {TOKEN}:
      bindings:
        - host: {API}
          port: 443
          header: authorization
"
    )
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Other, format!("the demo cannot be set up: {error}"))
}

/// The real token, for the comparison with what the service saw.
fn real_token() -> SecretString {
    SecretString::from(REAL_TOKEN)
}
