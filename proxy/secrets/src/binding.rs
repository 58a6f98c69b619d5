//! Bindings: for which requests a credential may be used.

use tollgate_model::{Ask, Authority, Caller};
use tollgate_policy::CredentialBinding;

/// True when the binding is for this destination at all.
pub(crate) fn reaches(binding: &CredentialBinding, authority: &Authority) -> bool {
    binding.port == authority.port && binding.host.matches(&authority.host)
}

/// True when the binding is for this very request: destination, method, path and program.
pub(crate) fn applies(binding: &CredentialBinding, ask: &Ask<'_>) -> bool {
    let method = |allowed: &str| {
        // As in rules: what may be read may be asked about.
        allowed.eq_ignore_ascii_case(ask.method.as_str())
            || (allowed == "GET" && ask.method.as_str().eq_ignore_ascii_case("HEAD"))
    };
    reaches(binding, ask.authority)
        && (binding.methods.is_empty() || binding.methods.iter().any(|allowed| method(allowed)))
        && binding.path.as_ref().is_none_or(|path| path.matches(ask.path.as_str()))
        && binding.binaries.as_ref().is_none_or(|globs| globs.iter().any(|glob| is_caller(glob, ask.caller)))
}

/// The program itself or one of its ancestors; an unknown caller is nobody.
fn is_caller(glob: &tollgate_policy::glob::PathGlob, caller: &Caller) -> bool {
    match caller {
        Caller::Known { program, ancestors, .. } => {
            std::iter::once(program).chain(ancestors).any(|program| glob.matches(&program.path))
        }
        Caller::Unknown(_) => false,
    }
}
