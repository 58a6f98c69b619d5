//! Rules that the whole tree keeps, checked on its text.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every file below a folder with one of these endings; build output and version control left out.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && !["target", ".git", "corpus"].contains(&name.to_str().unwrap_or_default()) {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| path.extension().is_some_and(|e| e == *ending)) {
            found.push(path);
        }
    }
    found
}

/// Files whose text fits.
fn holding(endings: &[&str], fits: impl Fn(&str) -> bool) -> Vec<String> {
    let root = root();
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    files(&root, endings)
        .iter()
        .filter(|path| fits(&text(path)))
        .map(|path| path.strip_prefix(&root).expect("below").display().to_string())
        .collect()
}

#[test]
fn unsafe_code_is_in_one_place() {
    let keyword = concat!("unsafe", " {");
    let found = holding(&["rs"], |text| text.contains(keyword) || text.contains(concat!("unsafe", " fn")));
    assert!(!found.is_empty(), "the check sees what it looks for");
    for path in found {
        assert!(path.starts_with("supervisor/src/sys"), "{path}");
    }
}

#[test]
fn every_unsafe_block_says_why() {
    let folder = root().join("supervisor/src/sys");
    for path in files(&folder, &["rs"]) {
        let text = std::fs::read_to_string(&path).expect("readable");
        let blocks = text.matches(concat!("unsafe", " {")).count();
        let reasons = text.matches("// SAFETY:").count();
        assert!(reasons >= blocks, "{}: {blocks} blocks, {reasons} reasons", path.display());
    }
}

#[test]
fn yaml_is_read_in_one_place() {
    let found = holding(&["rs"], |text| {
        text.contains(concat!("granit_", "parser::")) || text.contains(concat!("serde_yaml", "::from"))
    });
    assert!(found.iter().all(|path| path.starts_with("proxy/policy/")), "{found:?}");
    assert!(!found.is_empty(), "the check sees what it looks for");
}

#[test]
fn layers_point_down() {
    const LAYERS: &[(&str, u8)] = &[
        ("tollgate-model", 0),
        ("tollgate-inspect", 1),
        ("tollgate-policy", 1),
        ("tollgate-audit", 1),
        ("tollgate-secrets", 2),
        ("tollgate-wire", 2),
        ("tollgate-proxy", 3),
        ("tollgate-supervisor", 3),
    ];
    // The readers of layer 1 serve its judge.
    const WITHIN: &[(&str, &str)] = &[("tollgate-policy", "tollgate-inspect")];
    let layer = |name: &str| LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer);
    let mut seen = 0;
    for manifest in files(&root(), &["toml"]).iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = std::fs::read_to_string(manifest).expect("readable");
        let name = text.lines().find_map(|line| line.strip_prefix("name = ")).unwrap_or_default().trim_matches('"');
        let Some(own) = layer(name) else { continue };
        let dependencies = text.split("[dev-dependencies]").next().unwrap_or_default();
        for line in dependencies.lines() {
            let Some(other) = line.split('.').next().filter(|other| layer(other).is_some()) else { continue };
            seen += 1;
            let down = layer(other).is_some_and(|other| other < own) || WITHIN.contains(&(name, other));
            assert!(down, "{name} depends on {other}");
        }
    }
    assert!(seen > 5, "the check sees what it looks for");
}

#[test]
fn pure_crates_do_no_io() {
    const IO: &[&str] = &[
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::thread",
        "std::process",
        "SystemTime::now",
        "Instant::now",
        "Mutex",
    ];
    for name in ["model", "inspect", "policy", "audit", "secrets"] {
        for path in files(&root().join("proxy").join(name).join("src"), &["rs"]) {
            if path.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for io in IO {
                assert!(!text.contains(io), "{} uses {io}", path.display());
            }
        }
    }
}

#[test]
fn the_readmes_demo_is_the_demos() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("readable");
    for line in [
        "Tollgate demo: an agent in a sandbox",
        "allowed   GET",
        "denied    a raw socket",
        "tamper    cut short",
        "All of it as it should be.",
    ] {
        assert!(readme.contains(line), "{line:?} is not in README.md");
    }
}

#[test]
fn provider_profiles_load_and_bind_what_they_need() {
    let profiles = files(&root().join("presets/providers"), &["yaml"]);
    assert!(profiles.len() >= 13, "{profiles:?}");
    // Signing is not there yet, and the bindings of one's own credentials are in one's own policy.
    const WITHOUT_BINDINGS: &[&str] = &["aws", "generic"];
    for path in profiles {
        let text = std::fs::read_to_string(&path).expect("readable");
        let profile = match tollgate_policy::profile::Profile::read(&text) {
            Ok(profile) => profile,
            Err(diagnostics) => panic!("{}: {diagnostics}", path.display()),
        };
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(&*profile.id));
        for credential in &profile.credentials {
            for variable in &credential.variables {
                let is_bound = profile.document.credentials.iter().any(|binding| binding.credential == *variable);
                assert_eq!(is_bound, !WITHOUT_BINDINGS.contains(&&*profile.id), "{} {variable}", profile.id);
            }
        }
    }
}

#[test]
fn presets_load_and_name_their_programs() {
    let presets: Vec<_> = std::fs::read_dir(root().join("presets")).expect("readable").flatten().collect();
    let presets = presets.iter().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let mut seen = 0;
    for path in presets {
        let text = std::fs::read_to_string(&path).expect("readable");
        let preset = tollgate_policy::document::import(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(preset.name.as_deref(), path.file_stem().and_then(|stem| stem.to_str()));
        assert!(preset.document.network_policies.values().all(|entry| entry.binaries.is_some()), "{}", path.display());
        tollgate_policy::Policy::compile(preset.document).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        seen += 1;
    }
    assert!(seen >= 9, "{seen} presets");
}
