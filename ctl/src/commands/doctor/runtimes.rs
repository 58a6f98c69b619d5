//! The runtimes that agents are written in, and what makes each of them open a TLS connection to a name.

/// One runtime and how it is asked. In arguments and files `{host}` stands for the name, `{url}` for `https://NAME/`.
pub struct Runtime {
    pub name: &'static str,
    /// What it is found by; looked up in `PATH`.
    pub program: &'static str,
    /// What must succeed for it to count as present, beside its program: a library that may not be installed.
    pub presence: &'static [&'static str],
    pub arguments: &'static [&'static str],
    /// A source file, where it takes one: its name and its text.
    pub source: Option<(&'static str, &'static str)>,
    pub judged: Judged,
    /// What to do where it does not trust the gate.
    pub remedy: &'static str,
}

/// How success is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// By exit code 0.
    Exit,
    /// It fails either way; an error that speaks of certificates is the wrong one.
    Words,
}

const BY_VARIABLE: &str =
    "it read none of the variables that name /run/tollgate/ca-bundle.pem; look for a setting of its own";

pub const RUNTIMES: &[Runtime] = &[
    Runtime {
        name: "curl",
        program: "curl",
        presence: &[],
        arguments: &["-sS", "--fail", "-o", "/dev/null", "{url}"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "OpenSSL",
        program: "openssl",
        presence: &[],
        arguments: &["s_client", "-brief", "-verify_return_error", "-connect", "{host}:443", "-servername", "{host}"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "wget",
        program: "wget",
        presence: &[],
        arguments: &["-q", "-O", "/dev/null", "{url}"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "GnuTLS",
        program: "gnutls-cli",
        presence: &[],
        arguments: &["--verify-hostname={host}", "--x509cafile=/run/tollgate/ca-bundle.pem", "-p", "443", "{host}"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "git",
        program: "git",
        presence: &[],
        arguments: &["ls-remote", "{url}"],
        source: None,
        judged: Judged::Words,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "Python",
        program: "python3",
        presence: &[],
        arguments: &["-c", "import urllib.request; urllib.request.urlopen('{url}', timeout=30).read()"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "Python requests",
        program: "python3",
        presence: &["-c", "import requests"],
        arguments: &["-c", "import requests; requests.get('{url}', timeout=30).raise_for_status()"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "Node.js",
        program: "node",
        presence: &[],
        arguments: &[
            "-e",
            "require('https').get('{url}', r => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', e => { console.error(e.message); process.exit(1) })",
        ],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "Deno",
        program: "deno",
        presence: &[],
        arguments: &["eval", "const r = await fetch('{url}'); Deno.exit(r.ok ? 0 : 1)"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "Bun",
        program: "bun",
        presence: &[],
        arguments: &["-e", "const r = await fetch('{url}'); process.exit(r.ok ? 0 : 1)"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "Ruby",
        program: "ruby",
        presence: &[],
        arguments: &["-ropen-uri", "-e", "URI.open('{url}').read"],
        source: None,
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "Go",
        program: "go",
        presence: &[],
        arguments: &["run", "handshake.go"],
        source: Some((
            "handshake.go",
            "package main\n\nimport (\n\t\"log\"\n\t\"net/http\"\n)\n\nfunc main() {\n\tif _, err := http.Get(\"{url}\"); err != nil {\n\t\tlog.Fatal(err)\n\t}\n}\n",
        )),
        judged: Judged::Exit,
        remedy: BY_VARIABLE,
    },
    Runtime {
        name: "Java",
        program: "java",
        presence: &[],
        arguments: &["Handshake.java"],
        source: Some((
            "Handshake.java",
            "public class Handshake {\n    public static void main(String[] a) throws Exception {\n        new java.net.URI(\"{url}\").toURL().openStream().readAllBytes();\n    }\n}\n",
        )),
        judged: Judged::Exit,
        remedy: "Java reads no PEM bundle; run: cp \"$(readlink -f \"$(dirname \"$(readlink -f \"$(command -v java)\")\")/../lib/security/cacerts\")\" ~/cacerts && chmod u+w ~/cacerts && keytool \
                 -importcert -noprompt -alias tollgate -file /run/tollgate/ca.pem -keystore ~/cacerts -storepass changeit && export \
                 JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=$HOME/cacerts",
    },
    Runtime {
        name: "NSS",
        program: "tstclnt",
        presence: &[],
        arguments: &["-h", "{host}", "-p", "443", "-D", "-Q"],
        source: None,
        judged: Judged::Exit,
        remedy: "NSS reads no variable; run: mkdir -p ~/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n tollgate -i /run/tollgate/ca.pem",
    },
];
