//! Programs that try to get out, and how they say what became of it.

use crate::Bench;

/// What every such program begins with. `tried` prints `stopped` where an attempt fails in one of the expected ways,
/// `ODD` where it fails otherwise, `ESCAPED` where it does not fail; `call` does so for a system call by its number.
const PREAMBLE: &str = "
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def tried(what, attempt, *errors, empty=()):
    try:
        attempt()
    except empty:
        print('stopped', what, 'nothing there')
    except OSError as e:
        name = errno.errorcode.get(e.errno, str(e.errno))
        print('stopped' if name in errors else 'ODD', what, name)
    else:
        print('ESCAPED', what)

def call(what, number, *arguments, errors=('EPERM',)):
    def attempt():
        ctypes.set_errno(0)
        words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
        if libc.syscall(ctypes.c_long(number), *words) < 0:
            raise OSError(ctypes.get_errno(), '')
    tried(what, attempt, *errors)

";

/// Runs a Python program inside; it must make this many attempts, and every one must be stopped.
///
/// # Panics
/// Where it does not.
#[track_caller]
pub fn check_stopped(bench: &Bench, attempts: usize, program: &str) {
    bench.write("work/try.py", format!("{PREAMBLE}{program}"));
    let finished = bench.agent(&[], &["/usr/bin/python3", "try.py"]);
    let lines: Vec<_> = finished.stdout.lines().collect();
    let all_stopped = lines.iter().all(|line| line.starts_with("stopped"));
    assert!(finished.code == 0 && all_stopped && lines.len() == attempts, "{attempts} attempts: {finished:?}");
}
