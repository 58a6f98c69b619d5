//! What to bind where: grants, made absolute and free of links while the host's tree is still the root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tollgate_wire::cell::{Files, Image};

use crate::error::{At, LaunchError};
use crate::image::{Found, in_image};

/// The mounts of a sandbox, parents before children.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Real path inside to what is bound there.
    pub(crate) binds: BTreeMap<PathBuf, Bind>,
    /// Links that must exist for granted names to lead to their real path: name, target.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Real host file, path inside.
    pub(crate) overlays: Vec<(PathBuf, PathBuf)>,
    /// Granted paths that this machine, or the image, does not have.
    pub(crate) absent: Vec<PathBuf>,
    /// The folder of the image, where there is one.
    pub(crate) image: Option<PathBuf>,
}

/// A path of the host's tree, seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    /// Where it lies on the host: under its own name, or in the image.
    pub(crate) source: PathBuf,
    pub(crate) access: Access,
}

/// The tree that a grant is of.
#[derive(Clone, Copy)]
enum Tree<'a> {
    Host,
    Image(&'a Path),
}

impl Tree<'_> {
    /// Where a path leads: its name inside, free of links, and where that lies on the host.
    fn find(self, path: &Path) -> std::io::Result<Found> {
        match self {
            Self::Host => path.canonicalize().map(|real| Found { inside: real.clone(), on_host: real }),
            Self::Image(root) => in_image(root, path),
        }
    }

    fn root(&self) -> &Path {
        match self {
            Self::Host => Path::new("/"),
            Self::Image(root) => root,
        }
    }
}

/// How a path is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Read and execute.
    Read,
    /// Everything.
    Write,
}

/// The sandbox has its own of these; a grant of one of them means that one.
const PRIVATE: &[&str] = &["/proc", "/dev", "/tmp"];

/// What a grant of `/` leaves out beside them: kernel settings, and the sockets of the host's daemons.
const NOT_IN_ROOT: &[&str] = &["/sys", "/run"];

impl Plan {
    /// Reads the order.
    pub(crate) fn of(files: &Files) -> Result<Self, LaunchError> {
        let mut plan = Self::default();
        if let Some(image) = &files.image {
            let tree = Tree::Image(&image.root);
            plan.grant_all(tree, (&image.read_only, &image.read_write), files.hard_requirement)?;
            plan.check_links(image)?;
            plan.image = Some(image.root.clone());
        }
        plan.grant_all(Tree::Host, (&files.read_only, &files.read_write), files.hard_requirement)?;
        for path in &files.pinned {
            // Bound onto itself, a folder can no longer be renamed away from what lies in it.
            if plan.is_writable(path) {
                let bind = Bind { source: path.clone(), access: Access::Write };
                plan.binds.entry(path.clone()).or_insert(bind);
            }
        }
        for (host, inside) in &files.overlays {
            let real = host.canonicalize().map_err(|e| LaunchError::step(format!("find {}", host.display()), e))?;
            plan.overlays.push((real, inside.clone()));
        }
        // A link to a folder comes before links below it.
        plan.links.sort();
        Ok(plan)
    }

    /// What a person should know: how much is granted, what is not there, which names lead elsewhere.
    pub(crate) fn describe(&self) -> String {
        let writable = self.binds.values().filter(|bind| bind.access == Access::Write).count();
        let mut text = format!("{} paths read-only, {writable} writable", self.binds.len() - writable);
        if let Some(image) = &self.image {
            text += &format!("; of the image {}", image.display());
        }
        let links: Vec<_> = self.links.iter().map(|(n, t)| format!("{} to {}", n.display(), t.display())).collect();
        let absent: Vec<_> = self.absent.iter().map(|path| path.display().to_string()).collect();
        for (what, names) in [("links", links), ("not there", absent)] {
            if !names.is_empty() {
                text += &format!("; {what}: {}", names.join(", "));
            }
        }
        text
    }

    /// True below a grant for writing that no nearer grant takes back.
    fn is_writable(&self, path: &Path) -> bool {
        path.ancestors().find_map(|folder| self.binds.get(folder)).is_some_and(|bind| bind.access == Access::Write)
    }

    fn grant_all(
        &mut self,
        tree: Tree<'_>,
        (read_only, read_write): (&[PathBuf], &[PathBuf]),
        required: bool,
    ) -> Result<(), LaunchError> {
        read_only.iter().try_for_each(|path| self.grant(tree, path, Access::Read, required))?;
        read_write.iter().try_for_each(|path| self.grant(tree, path, Access::Write, required))
    }

    /// A granted name that is a link must not lie where an agent can lay links: it would choose what is granted next time.
    fn check_links(&self, image: &Image) -> Result<(), LaunchError> {
        let tree = Tree::Image(&image.root);
        for path in image.read_only.iter().chain(&image.read_write) {
            let Some((folder, name)) = path.parent().zip(path.file_name()) else { continue };
            let (Ok(folder), Ok(real)) = (tree.find(folder), tree.find(path)) else { continue };
            let (folder, real) = (folder.inside, real.inside);
            if self.is_writable(&folder) && real != folder.join(name) {
                return Err(LaunchError::BadOrder(format!(
                    "the granted path {} of the image is a link in {}, where the agent could point it anywhere; grant {} itself, or remove the link",
                    path.display(),
                    folder.display(),
                    real.display()
                )));
            }
        }
        Ok(())
    }

    fn grant(&mut self, tree: Tree<'_>, path: &Path, access: Access, required: bool) -> Result<(), LaunchError> {
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(LaunchError::BadOrder(format!(
                "the granted path {} must be absolute, without `..`",
                path.display()
            )));
        }
        if is_private(path) {
            return Ok(());
        }
        let Found { inside: real, on_host: source } = match tree.find(path) {
            Ok(found) => found,
            Err(error) if required => {
                let reason = format!("landlock.compatibility is hard_requirement and {} is missing", path.display());
                return Err(LaunchError::step(reason, error));
            }
            // A policy may name what only some machines have.
            Err(_) => {
                self.absent.push(path.to_owned());
                return Ok(());
            }
        };
        if real == Path::new("/") {
            return self.grant_root(tree, access, required);
        }
        if is_private(&real) {
            return Ok(());
        }
        if real != path {
            self.links.push((path.to_owned(), real.clone()));
        }
        let known = self.binds.get(&real).filter(|known| known.source == source);
        let access = known.map_or(access, |known| access.max(known.access));
        self.binds.insert(real, Bind { source, access });
        Ok(())
    }
}

impl Plan {
    /// The root is the sandbox's own, so a grant of `/` means what lies in it.
    fn grant_root(&mut self, tree: Tree<'_>, access: Access, required: bool) -> Result<(), LaunchError> {
        if access == Access::Write {
            return Err(LaunchError::BadOrder("the whole file tree cannot be granted for writing".to_owned()));
        }
        let step = format!("list {}", tree.root().display());
        for entry in std::fs::read_dir(tree.root()).at(&step)? {
            let path = Path::new("/").join(entry.at(&step)?.file_name());
            if !NOT_IN_ROOT.iter().any(|out| path == Path::new(out)) {
                self.grant(tree, &path, access, required)?;
            }
        }
        Ok(())
    }
}

fn is_private(path: &Path) -> bool {
    // Folders below /tmp are the host's and can be granted one by one; devices and processes cannot.
    PRIVATE.iter().any(|own| path == Path::new(own)) || path.starts_with("/dev") || path.starts_with("/proc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(read_only: &[&str], read_write: &[&str]) -> Result<Plan, LaunchError> {
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect();
        Plan::of(&Files { read_only: paths(read_only), read_write: paths(read_write), ..Files::default() })
    }

    #[test]
    fn writing_wins_over_reading() {
        let plan = plan(&["/usr/lib"], &["/usr/lib"]).expect("a plan");
        let bind = Bind { source: "/usr/lib".into(), access: Access::Write };
        assert_eq!(plan.binds.get(Path::new("/usr/lib")), Some(&bind));
    }

    #[test]
    fn the_sandboxs_own_places_are_never_the_hosts() {
        let plan = plan(&["/proc", "/dev/urandom", "/proc/1"], &["/tmp", "/dev/null"]).expect("a plan");
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn hostile_grants_are_refused() {
        for path in ["/", "//", "/usr/../", "relative", "/.."] {
            assert!(matches!(plan(&[], &[path]), Err(LaunchError::BadOrder(_))), "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_left_out_and_said() {
        let plan = plan(&["/does/not/exist"], &[]).expect("a plan");
        assert!(plan.binds.is_empty() && plan.links.is_empty());
        assert_eq!(plan.describe(), "0 paths read-only, 0 writable; not there: /does/not/exist");
    }

    #[test]
    fn the_root_is_its_contents_without_the_hosts_own() {
        let plan = plan(&["/"], &[]).expect("a plan");
        assert!(plan.binds.contains_key(Path::new("/usr")));
        for out in ["/", "/proc", "/dev", "/tmp", "/sys", "/run"] {
            assert!(!plan.binds.contains_key(Path::new(out)), "{out}");
        }
    }

    #[test]
    fn only_what_is_writable_is_pinned() {
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect();
        let files = Files { read_write: paths(&["/usr/lib"]), read_only: paths(&["/etc"]), ..Files::default() };
        let plan = Plan::of(&Files { pinned: paths(&["/usr/lib/x", "/etc/x", "/root"]), ..files }).expect("a plan");
        let bound: Vec<_> = plan.binds.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(bound, ["/etc", "/usr/lib", "/usr/lib/x"]);
    }
}
