//! What a sandbox begins with: its folder, its streams, its policy. They differ where it stays.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use tollgate_policy::document::Attachment;
use tollgate_proxy::Digested;
use tollgate_supervisor::{Streams, give};

use super::{Order, draw_name};
use crate::failure::{Failure, Kind};
use crate::home::{Claim, Home};
use crate::policies::{self, Content, PolicyFile};

/// A sandbox that nobody waits for.
pub struct Detached {
    /// Its folder, which is this process's alone.
    pub claim: Claim,
    /// Where the agent's output goes.
    pub output: OwnedFd,
    /// It was there before: the policy that was accepted last is in force, and not what the file said first.
    pub resumes: bool,
}

/// The policy that a sandbox begins with.
pub struct Beginning {
    pub file: PolicyFile,
    pub content: Content,
    /// Hash of what the file brought last, where the policy is not the file's.
    pub brought: Option<String>,
}

impl Beginning {
    /// What the file says, or, where a sandbox is started again, what was accepted last.
    pub fn of(order: &Order, resumes: Option<&Detached>, attachments: Vec<Attachment>) -> Result<Self, Failure> {
        let newest = resumes.map_or(Ok(None), |detached| policies::newest(&detached.claim.folder))?;
        if let Some((content, brought)) = newest {
            let file = PolicyFile::or_gone(&order.policy).of_image(order.files.image.clone()).attaching(attachments);
            return Ok(Self { file, content, brought: Some(brought) });
        }
        let file = PolicyFile::new(&order.policy)?.of_image(order.files.image.clone()).attaching(attachments);
        let content = file.read()?;
        Ok(Self { file, content, brought: None })
    }
}

/// Hash of what the file brought last, where the file is to be followed.
///
/// An edit that was made while a sandbox was stopped counts, unless the agent could have made it: the file lies where it
/// writes, and nothing fenced it (it was gone, or replaced as a whole) before the end.
pub fn followed(file: &PolicyFile, brought: Option<String>, is_writable: bool, current: &str) -> Option<String> {
    let Some(brought) = brought else { return Some(current.to_owned()) };
    if !file.path().exists() {
        eprintln!(
            "tollgate: warning: the policy file {} is gone; `policy set` changes the policy",
            file.path().display()
        );
        return None;
    }
    let says = || file.load().ok().map(|policy| Digested::from(policy).sha256().to_owned());
    if is_writable && says().as_ref() != Some(&brought) {
        eprintln!(
            "tollgate: warning: the policy file {} lies where the agent writes and is not what it last was, so it is not followed; `policy set` changes the policy",
            file.path().display()
        );
        return None;
    }
    Some(brought)
}

/// The folder, and the pipe that the agent's output goes to where it does not go where ours does.
pub fn place(home: &Home, order: &Order, detached: Option<Detached>) -> Result<(Claim, Option<OwnedFd>), Failure> {
    if let Some(Detached { claim, output, .. }) = detached {
        return Ok((claim, Some(output)));
    }
    let claim = home.claim(&order.name.clone().map_or_else(draw_name, Ok)?)?;
    if claim.folder.definition().exists() {
        let name = &claim.folder.name;
        let message = format!(
            "there is a sandbox {name} that was created to stay: `tollgate sandbox start {name}` starts it, and `tollgate sandbox delete {name}` makes room for another"
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok((claim, None))
}

/// Where the agent's streams lead.
pub fn streams(output: Option<OwnedFd>, run_as: Option<(u32, u32)>) -> Result<Streams, Failure> {
    let Some(output) = output else {
        return Ok(Streams { input: Stdio::inherit(), output: Stdio::inherit(), error: Stdio::inherit() });
    };
    let given = run_as.map_or(Ok(()), |run_as| give(&output, run_as));
    let error = given.and_then(|()| output.try_clone());
    let error = error.map_err(|e| Failure::new(Kind::Other, format!("no log can be written: {e}")))?;
    Ok(Streams { input: Stdio::null(), output: Stdio::from(output), error: Stdio::from(error) })
}
