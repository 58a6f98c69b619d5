//! The only unsafe code of the project: system calls that no safe wrapper offers.
//!
//! One operation a function, one reason a block. Everything here is called from single-threaded processes, before the
//! agent exists, except [`adopt`], [`tie`] and the two of terminal sizes.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigAction, Signal};
use nix::unistd::{ForkResult, Pid};
use tollgate_wire::exec::WindowSize;

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

/// Makes a system call with numbers alone, to see how it is answered.
///
/// None of the arguments is an address of this process: a call that wants one finds null, or a small number.
pub(crate) fn call_with_numbers(number: i64, arguments: [u64; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel can neither read nor write memory of ours through null and small numbers; it answers EFAULT.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// How a mount and all below it are restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes(u64);

impl Attributes {
    /// No set-user-id, no devices.
    pub(crate) const TAME: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV);
    /// Tame, and read-only.
    pub(crate) const READ_ONLY: Self = Self(Self::TAME.0 | libc::MOUNT_ATTR_RDONLY);
    /// One device: its own attributes cannot be changed, and it can be used.
    pub(crate) const DEVICE: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY);
}

/// A copy of a mounted tree, with every mount below it, that hangs nowhere yet (open_tree(2), Linux 5.2).
pub(crate) struct Tree(OwnedFd);

impl Tree {
    /// Copies what the descriptor leads to, a folder or a file.
    pub(crate) fn copy(source: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = libc::OPEN_TREE_CLONE
            | libc::O_CLOEXEC as libc::c_uint
            | (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH) as libc::c_uint;
        // SAFETY: the path is a static C string, and the call only reads it.
        let tree = unsafe { libc::syscall(libc::SYS_open_tree, source.as_raw_fd(), c"".as_ptr(), flags) };
        let tree = RawFd::try_from(tree).map_err(io::Error::other)?;
        if tree < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel made this descriptor just now, for this call alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(tree) }))
    }

    /// Restricts every mount of the copy, before anything can reach it.
    pub(crate) fn restrict(&self, attributes: Attributes) -> io::Result<()> {
        set_attributes(self.0.as_raw_fd(), c"", attributes, libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
    }

    /// Mounts the copy where the descriptor leads to (move_mount(2)).
    pub(crate) fn attach(&self, target: BorrowedFd<'_>) -> io::Result<()> {
        let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
        let (from, to) = (self.0.as_raw_fd(), target.as_raw_fd());
        // SAFETY: both paths are static C strings, and the call only reads them.
        let done = unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Restricts one mount, not those below it.
pub(crate) fn restrict_mount(path: &std::path::Path, attributes: Attributes) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    set_attributes(libc::AT_FDCWD, &path, attributes, 0)
}

/// mount_setattr(2), Linux 5.12.
fn set_attributes(folder: RawFd, path: &CStr, attributes: Attributes, flags: libc::c_int) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path ends with NUL, `attr` is of the size that is passed, and both outlive the call, which only reads them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            folder,
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the program that `command` will start keep one descriptor, and end when this thread does (prctl(2),
/// `PR_SET_PDEATHSIG`).
pub(crate) fn tie(command: &mut Command, descriptor: RawFd) {
    let parent = nix::unistd::getpid();
    let prepare = move || {
        // SAFETY: fcntl only clears a flag of a number; a wrong one is an error, not undefined.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // A parent that ended before the tie was made has not pulled it.
        if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec the closure makes three system calls and touches no lock and no memory of others.
    unsafe { command.pre_exec(prepare) };
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

/// Makes a terminal the controlling one of this session (ioctl_tty(2), `TIOCSCTTY`).
pub(crate) fn control(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument is a number; a descriptor that is no terminal is an error, not undefined.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks for a terminal's size (ioctl_tty(2), `TIOCGWINSZ`).
pub(crate) fn window_size(terminal: BorrowedFd<'_>) -> io::Result<WindowSize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is what this request writes, and outlives the call.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Gives a terminal another size (ioctl_tty(2), `TIOCSWINSZ`).
pub(crate) fn set_window_size(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is what this request reads, and outlives the call.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
