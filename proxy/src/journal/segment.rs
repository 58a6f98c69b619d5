//! One segment while it is written: a file of records and the signed head beside it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use tollgate_audit::digest::hex;
use tollgate_audit::{Chain, End, Follows, Head, SigningKey};

use super::folder::{JournalFolder, private};

/// The segment that records go to.
pub(super) struct Segment {
    pub(super) file: File,
    pub(super) number: u32,
    /// Bytes in the file.
    pub(super) written: u64,
    /// When it began, in microseconds since the Unix epoch.
    pub(super) began: i64,
    pub(super) chain: Chain,
    pub(super) head: PathBuf,
    /// The lines that it began with.
    pub(super) first: Vec<u8>,
}

impl Segment {
    /// Begins a segment. It gets its name when its head and its first record are there, so no kill leaves one without them.
    pub(super) fn begin(
        folder: &JournalFolder,
        (source, number): (&str, u32),
        follows: Option<&Follows>,
        key: &SigningKey,
        began: i64,
    ) -> std::io::Result<Self> {
        let draft = folder.path().join("segment.new");
        match std::fs::remove_file(&draft) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = private(OpenOptions::new().append(true).create_new(true)).open(&draft)?;
        let mut chain = Chain::new(&format!("{source}/{number:06}"));
        let mut first = Vec::new();
        if let Some(follows) = follows {
            chain.append(began, &follows.event().to_body(), &mut first);
        }
        file.write_all(&first)?;
        let (head, written) = (folder.head(number), first.len() as u64);
        let segment = Self { file, number, written, began, chain, head, first };
        segment.sign(key, false)?;
        // Unlike rename(2) this never replaces what is there.
        std::fs::hard_link(&draft, folder.records(number))?;
        std::fs::remove_file(&draft)?;
        Ok(segment)
    }

    /// Adds whole records at the end.
    pub(super) fn write(&mut self, records: &[u8]) -> std::io::Result<()> {
        if let Err(error) = self.file.write_all(records) {
            // Half a record would make the honest part unverifiable; shortening a file works on a full disk too.
            let _ = self.file.set_len(self.written);
            return Err(error);
        }
        self.written += records.len() as u64;
        Ok(())
    }

    /// Signs the end.
    pub(super) fn sign(&self, key: &SigningKey, closed: bool) -> std::io::Result<Head> {
        let head = key.sign(&self.chain, closed);
        let draft = self.head.with_extension("head.new");
        let mut file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&draft)?;
        file.write_all(head.to_text().as_bytes())?;
        std::fs::rename(&draft, &self.head)?;
        Ok(head)
    }

    /// Waits until all of it is on the disk.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()?;
        File::open(&self.head)?.sync_all()
    }

    /// How it ends.
    pub(super) fn end(&self) -> End {
        End { records: self.chain.last_seq(), last_hash: hex(&self.chain.last_hash()), dropped_bytes: 0 }
    }
}
