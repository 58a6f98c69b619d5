//! Watching files for changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::failure::{Failure, Kind};

/// Says when one of some files has changed, until it is dropped.
///
/// Their folders are watched: editors replace files, and a watched file that is replaced is seen no more.
pub struct Watch {
    _watcher: notify::RecommendedWatcher,
    changed: Arc<Notify>,
}

/// Editors write in several steps; a burst of events is one edit, over when nothing came for this long.
const SETTLE: Duration = Duration::from_millis(20);

/// A file that never comes to rest counts as changed all the same.
const MAX_BURST: u32 = 50;

/// Volumes of cluster managers replace all their files at once by turning a link of this name.
const TURNED_LINK: &str = "..data";

impl Watch {
    /// Starts watching files by their absolute paths.
    pub fn start(files: &[PathBuf]) -> Result<Self, Failure> {
        let changed = Arc::new(Notify::new());
        let (notify, watched) = (Arc::clone(&changed), files.to_vec());
        let fits = move |path: &PathBuf| watched.contains(path) || path.file_name().is_some_and(|n| n == TURNED_LINK);
        let unwatched = |path: &Path, e: notify::Error| {
            Failure::new(Kind::State, format!("changes of {} cannot be watched: {e}", path.display()))
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may hide a change, so it counts as one.
            if event.is_ok_and(|event| event.kind.is_access() || !event.paths.iter().any(&fits)) {
                return;
            }
            notify.notify_one();
        })
        .map_err(|e| unwatched(Path::new("files"), e))?;
        let folders: HashSet<&Path> = files.iter().map(|file| file.parent().unwrap_or(Path::new("/"))).collect();
        for folder in folders {
            watcher.watch(folder, RecursiveMode::NonRecursive).map_err(|e| unwatched(folder, e))?;
        }
        Ok(Self { _watcher: watcher, changed })
    }

    /// Makes the files count as changed.
    pub fn touch(&self) {
        self.changed.notify_one();
    }

    /// Returns after a change, when the files have come to rest.
    pub async fn changed(&self) {
        self.changed.notified().await;
        for _ in 0..MAX_BURST {
            if tokio::time::timeout(SETTLE, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}
