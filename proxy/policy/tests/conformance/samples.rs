//! The samples that users begin with load and answer as the cases beside them say.

use std::path::{Path, PathBuf};

use tollgate_policy::cases;

fn samples(ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let files = std::fs::read_dir(folder).expect("samples").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a text file")
}

#[test]
fn samples_load() {
    let policies: Vec<_> =
        samples(".yaml").into_iter().filter(|path| !path.to_string_lossy().ends_with(".cases.yaml")).collect();
    assert!(policies.len() >= 3, "{policies:?}");
    for path in policies {
        tollgate_policy::load(&read(&path)).unwrap_or_else(|found| panic!("{}: {found}", path.display()));
    }
}

#[test]
fn samples_answer_as_their_cases_say() {
    let files = samples(".cases.yaml");
    assert!(files.len() >= 2, "{files:?}");
    for path in files {
        let policy = PathBuf::from(path.to_string_lossy().replace(".cases.yaml", ".yaml"));
        let policy = tollgate_policy::load(&read(&policy)).expect("it loads");
        let questions = cases::read(&read(&path)).unwrap_or_else(|found| panic!("{}: {found}", path.display()));
        let failed: Vec<_> = cases::run(&policy, &questions).into_iter().filter(|outcome| !outcome.passed).collect();
        assert!(failed.is_empty(), "{}: {failed:?}", path.display());
    }
}
