fn main() {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).unwrap();
        match tollgate_policy::document::import(&text) {
            Ok(p) => println!("OK   {path} ({} warnings)", p.document.warnings.iter().count()),
            Err(e) => println!("FAIL {path}\n{e}"),
        }
    }
}
