//! The only unsafe code of the project: system calls that no safe wrapper offers.
//!
//! One operation a function, one reason a block. Everything here is called from single-threaded processes, before the
//! agent exists, except [`adopt`].

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::signal::{SigAction, Signal};
use nix::unistd::{ForkResult, Pid};

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The one that called; holds the child's id.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Splits the process (fork(2)).
pub(crate) fn fork() -> nix::Result<Fork> {
    // SAFETY: the supervisor never starts a second thread, so the child inherits no lock that nobody will release.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// Takes ownership of a descriptor that a message just delivered (unix(7), `SCM_RIGHTS`).
pub(crate) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for the message being read; nothing else knows its number yet.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// The descriptor whose number stands on the supervisor's own command line.
pub(crate) fn inherited(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl only asks about the number; a wrong one is an error, not undefined.
    if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open and was left to this process for this purpose alone; it is taken once, at the start.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Closes every descriptor from `first` on (close_range(2)).
///
/// Owners of such descriptors in this process must never be used or dropped again: call it where the process goes on to
/// `exec`, with `first` above everything that is still in use.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    let first = libc::c_uint::try_from(first).map_err(io::Error::other)?;
    // SAFETY: close_range reads no memory; what it closes is not used any more, as the caller promises.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::c_uint::from(0u8)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes every descriptor from `first` up to and not including `end`, under the same promise as [`close_from`].
pub(crate) fn close_between(first: RawFd, end: RawFd) -> io::Result<()> {
    if first >= end {
        return Ok(());
    }
    let (first, last) = (libc::c_uint::try_from(first), libc::c_uint::try_from(end - 1));
    let (first, last) = (first.map_err(io::Error::other)?, last.map_err(io::Error::other)?);
    // SAFETY: as in `close_from`.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::c_uint::from(0u8)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives signals the action of a fresh process.
pub(crate) fn reset_signals(action: &SigAction, signals: &[Signal]) -> nix::Result<()> {
    for signal in signals {
        // SAFETY: the action is the default one, so no handler of ours can run in a state it does not expect.
        unsafe { nix::sys::signal::sigaction(*signal, action) }?;
    }
    Ok(())
}

/// How a mount and all below it are restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes(u64);

impl Attributes {
    /// No set-user-id, no devices.
    pub(crate) const TAME: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV);
    /// Tame, and read-only.
    pub(crate) const READ_ONLY: Self = Self(Self::TAME.0 | libc::MOUNT_ATTR_RDONLY);
}

/// Restricts a mount, and with `recursive` every mount below it (mount_setattr(2), Linux 5.12).
pub(crate) fn restrict_mount(path: &std::path::Path, attributes: Attributes, recursive: bool) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let attr = libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path ends with NUL, `attr` is of the size that is passed, and both outlive the call, which only reads them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets an option of a socket that has no safe wrapper, to 1.
pub(crate) fn enable(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let one: libc::c_int = 1;
    // SAFETY: `one` is a C int of the length that is passed and outlives the call, which only reads it.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const one).cast(),
            libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4),
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
