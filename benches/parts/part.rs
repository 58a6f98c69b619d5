//! One part of the gate's work, ready to be repeated: the same for the clock and for the count of instructions.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// What is measured, under the name that figures have.
pub struct Part {
    pub name: String,
    /// Bytes that one repetition works through, where that is what matters.
    pub bytes: Option<u64>,
    /// Repetitions whose instructions are counted; none where only the clock is of interest.
    pub counted: Option<u64>,
    /// Whether it runs where none of the machine's other processes are seen.
    pub alone: bool,
    make: Box<dyn Fn() -> Run + Sync>,
}

/// Repeats the work so many times, and says how long that took without what it needs each time.
pub type Run = Box<dyn FnMut(u64) -> Duration>;

impl Part {
    /// A part that `make` prepares, with everything that is not to be measured.
    pub fn new(name: impl Into<String>, make: impl Fn() -> Run + Sync + 'static) -> Self {
        Self { name: name.into(), bytes: None, counted: None, alone: false, make: Box::new(make) }
    }

    pub fn counted(self, repetitions: u64) -> Self {
        Self { counted: Some(repetitions), ..self }
    }

    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes: Some(bytes as u64), ..self }
    }

    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    pub fn prepare(&self) -> Run {
        (self.make)()
    }
}

/// Work that needs nothing in between.
pub fn repeat<T>(mut work: impl FnMut() -> T + 'static) -> Run {
    Box::new(move |count| measured(&mut || (0..count).for_each(|_| drop(black_box(work())))))
}

/// How many things of a kind make the difference between them small.
pub const ALIKE: usize = 10;

/// Work on several things that are made alike: their hash tables differ, and by a percent or two what looking into them takes.
pub fn in_turn<S: 'static, T>(all: [S; ALIKE], mut work: impl FnMut(&S) -> T + 'static) -> Run {
    let mut turn = 0;
    repeat(move || {
        turn = (turn + 1) % all.len();
        work(black_box(&all[turn]))
    })
}

/// How long the work takes. Callgrind counts what happens on this thread within it, and nothing else.
pub fn measured(work: &mut dyn FnMut()) -> Duration {
    let before = Instant::now();
    these_instructions_count(work);
    before.elapsed()
}

/// What callgrind is told to look for.
pub const COUNTED: &str = "*these_instructions_count*";

#[inline(never)]
fn these_instructions_count(work: &mut dyn FnMut()) {
    work();
    // What comes last must not be a jump that leaves this function early.
    black_box(&());
}
