//! What of the isolation an operator chooses: bounds, and whether it is proved.

use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Serialize};
use tollgate_wire::cell::{Bounds, Limit};

/// Options of every command that starts a sandbox.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isolation {
    /// Limit each process: as, cpu, fsize, memlock, nofile, nproc or stack, for example nproc=2000; the defaults are nproc=512
    /// and nofile=65536
    #[arg(long = "ulimit", value_name = "NAME=NUMBER")]
    ulimits: Vec<ProcessLimit>,
    /// Memory of the whole sandbox, for example 2G; takes a control group that is delegated to you
    #[arg(long, value_name = "BYTES")]
    memory: Option<Bytes>,
    /// Processors of the whole sandbox, for example 1.5; takes a control group that is delegated to you
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<Processors>,
    /// Processes and threads of the whole sandbox; takes a control group that is delegated to you
    #[arg(long, value_name = "NUMBER")]
    pids: Option<u64>,
    /// Start the agent without having tried whether the sandbox holds
    #[arg(long)]
    pub no_self_proof: bool,
}

impl Isolation {
    /// The bounds, for the supervisor.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            limits: self.ulimits.iter().map(|limit| (limit.0, limit.1)).collect(),
            memory: self.memory.map(|bytes| bytes.0),
            processors: self.cpus.map(|processors| processors.0),
            processes: self.pids,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ProcessLimit(Limit, u64);

impl FromStr for ProcessLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once('=').ok_or("it is NAME=NUMBER, as in nproc=512")?;
        let limit = Limit::ALL.into_iter().find(|limit| limit.name() == name);
        let names = Limit::ALL.map(Limit::name).join(", ");
        let limit = limit.ok_or_else(|| format!("`{name}` is no limit; there are {names}"))?;
        let number = number.parse().ok().filter(|number| *number > 0);
        Ok(Self(limit, number.ok_or("the number is a whole one from 1")?))
    }
}

/// A number of bytes, with `K`, `M`, `G` or `T` for powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bytes(u64);

/// Less than this and not even a shell starts.
const LEAST_MEMORY: u64 = 1 << 20;

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str = "it is a number of bytes from 1M on, as in 512M or 2G";
        let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
        let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(*unit)?, *shift)));
        let (number, shift) = unit.unwrap_or((text, 0));
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.filter(|bytes| *bytes >= LEAST_MEMORY).map(Self).ok_or_else(|| WRONG.to_owned())
    }
}

/// Processors in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Processors(u64);

impl FromStr for Processors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str = "it is a number of processors from 0.01 on, with at most three places, as in 2 or 1.5";
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 3 || whole.len() > 6 {
            return Err(WRONG.to_owned());
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| WRONG.to_owned());
        let thousandths = number(whole)? * 1000 + number(&format!("{part:0<3}"))?;
        // The kernel takes no quota below a millisecond of its period.
        if thousandths < 10 { Err(WRONG.to_owned()) } else { Ok(Self(thousandths)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: FromStr<Err = String> + PartialEq + std::fmt::Debug>(text: &str, expected: Option<T>) {
        assert_eq!(text.parse::<T>().ok(), expected, "{text:?}");
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        check("nproc=2000", Some(ProcessLimit(Limit::Nproc, 2000)));
        check("as=1", Some(ProcessLimit(Limit::As, 1)));
        for wrong in ["nproc", "nproc=", "nproc=0", "nproc=-1", "core=0", "=1", "NPROC=1"] {
            check::<ProcessLimit>(wrong, None);
        }
        check("1M", Some(Bytes(1 << 20)));
        check("512M", Some(Bytes(512 << 20)));
        check("2097152", Some(Bytes(2 << 20)));
        check("3T", Some(Bytes(3 << 40)));
        for wrong in ["", "M", "0", "1K", "1.5G", "2GB", "-1G", "99999999999T", "MM", "1GG"] {
            check::<Bytes>(wrong, None);
        }
        check("2", Some(Processors(2000)));
        check("1.5", Some(Processors(1500)));
        check("0.01", Some(Processors(10)));
        check("0.125", Some(Processors(125)));
        for wrong in ["", "0", "0.001", "1.", ".5", "1.2345", "-1", "1e3", "9999999"] {
            check::<Processors>(wrong, None);
        }
    }
}
