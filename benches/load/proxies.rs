//! The proxies that are measured, and how each is started.

use std::fs::{DirBuilder, File, Permissions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Uid;
use tollgate_benches::job::{AUTHORIZATION, RULES, SECRETS, SERVICE, policy, value};
use tollgate_benches::targets::{BARE, DIRECT, FEW_RULES, GATE, MANY_RULES, NGINX, OFF};

use crate::Result;
use crate::client::Client;
use crate::measure::Program;
use crate::stage::{Stage, end, start_announced};

/// Every proxy, in the order in which they take turns.
pub const ALL: &[&str] = &[DIRECT, BARE, GATE, OFF, FEW_RULES, MANY_RULES, NGINX, "squid", "mitmproxy", "hudsucker"];

/// What somebody would pick instead.
pub const PEERS: &[&str] = &[NGINX, "squid", "mitmproxy", "hudsucker"];

/// Where programs are that are not the system's.
#[derive(Debug, Clone)]
pub struct Places {
    /// `tollgate` itself.
    pub tollgate: PathBuf,
    /// Where `peers/install.sh` puts what it makes.
    pub peers: PathBuf,
    /// Where figures and plots go.
    pub reports: PathBuf,
}

/// A proxy that runs, or none where the service is reached directly.
pub struct Proxy {
    pub name: &'static str,
    pub client: Client,
    child: Option<Child>,
}

/// The service takes a moment to be ready, some programs several seconds.
const START_PATIENCE: Duration = Duration::from_secs(30);

impl Proxy {
    pub fn start(name: &'static str, stage: &Stage, places: &Places) -> Result<Self> {
        match name {
            DIRECT => {
                let origin_ca = std::fs::read_to_string(stage.path("origin-ca.pem"))?;
                let client = Client::new(stage.address, false, stage.address.port(), AUTHORIZATION, &origin_ca)?;
                Ok(Self { name, client, child: None })
            }
            BARE => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_bare"));
                command.args(["ca.pem", "ca.key", "origin-ca.pem"].map(|file| stage.path(file)));
                let (child, address) = start_announced(command.arg(stage.address.to_string()).arg(AUTHORIZATION))?;
                Self::tunnelling(name, stage, child, address, AUTHORIZATION)
            }
            GATE => tollgate(name, stage, places, RULES, SECRETS),
            OFF => tollgate(name, stage, places, 1, 0),
            FEW_RULES => tollgate(name, stage, places, 10, 1),
            MANY_RULES => tollgate(name, stage, places, 10_000, 1),
            NGINX => nginx(name, stage),
            "squid" => squid(name, stage),
            "mitmproxy" => mitmproxy(name, stage, places),
            _ => hudsucker(name, stage, places),
        }
    }

    /// What it uses; nothing where there is none.
    pub fn program(&self) -> Option<Program> {
        self.child.as_ref().map(|child| Program::new(child.id()))
    }

    fn tunnelling(
        name: &'static str,
        stage: &Stage,
        child: Child,
        address: SocketAddr,
        authorization: &str,
    ) -> Result<Self> {
        let client = Client::new(address, true, stage.address.port(), authorization, &stage.ca_pem)?;
        Ok(Self { name, client, child: Some(child) })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // What it has started must not be left behind: it is asked to end before it is made to.
        if let Ok(id) = child.id().try_into() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::SIGTERM);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        end(child);
    }
}

/// The gate with so many rules and credentials. Without credentials the client brings the real one.
fn tollgate(name: &'static str, stage: &Stage, places: &Places, rules: usize, secrets: usize) -> Result<Proxy> {
    let (address, port) = (free_address()?, stage.address.port());
    stage.write(&format!("{name}.policy.yaml"), &policy(port, rules, secrets))?;
    let names: Vec<_> = (0..secrets).map(|number| format!("TOKEN_{number}: \"env:TOKEN_{number}\"")).collect();
    let pins: Vec<_> = stage.names().map(|host| format!("\"{host}:{port}:{}\"", stage.address)).collect();
    let config = format!(
        "version: 1\nname: {name}\nlisteners: [{{ address: \"{address}\" }}]\n\
         authority: {{ certificate: ca.pem, key: ca.key }}\nupstream: {{ ca: [origin-ca.pem] }}\nresolve: [{}]\n\
         agents:\n- {{ name: load, sources: [127.0.0.0/8], policy: {name}.policy.yaml, secrets: {{ {} }} }}\n\
         limits: {{ connections: 12000, connections_per_agent: 12000 }}\n",
        pins.join(", "),
        names.join(", "),
    );
    let config = stage.write(&format!("{name}.yaml"), &config)?;
    let home = stage.path(&format!("{name}.home"));
    private_folder(&home)?;
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&places.tollgate);
        command.arg("proxy").args(arguments).arg("--config").arg(&config).env("TOLLGATE_HOME", &home);
        for number in 0..secrets {
            command.env(format!("TOKEN_{number}"), value(number));
        }
        command
    };
    let authorization = match secrets {
        0 => AUTHORIZATION.to_owned(),
        _ => format!("Bearer {}", placeholder(&mut command(&["env", "load"]))?),
    };
    let child = start(&mut command(&[]), stage, name, address)?;
    Proxy::tunnelling(name, stage, child, address, &authorization)
}

/// What stands for the first credential, as the gate says itself.
fn placeholder(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix("export TOKEN_0='"));
    let value = line.and_then(|rest| rest.strip_suffix('\''));
    Ok(value.ok_or_else(|| format!("no placeholder for TOKEN_0 in: {text}"))?.to_owned())
}

fn nginx(name: &'static str, stage: &Stage) -> Result<Proxy> {
    let address = free_address()?;
    let config = include_str!("../peers/nginx.conf")
        .replace("@FOLDER@", &text(&stage.path("")))
        .replace("@LISTEN@", &address.to_string())
        .replace("@ORIGIN@", &stage.address.to_string())
        .replace("@AUTHORITY@", &stage.authority(SERVICE))
        .replace("@SERVICE@", SERVICE)
        .replace("@AUTHORIZATION@", AUTHORIZATION);
    let config = stage.write("nginx.conf", &config)?;
    let child = start(
        Command::new("nginx").arg("-c").arg(config).arg("-e").arg(stage.path("nginx.errors")),
        stage,
        name,
        address,
    )?;
    let client = Client::new(address, false, stage.address.port(), AUTHORIZATION, &stage.ca_pem)?;
    Ok(Proxy { name, client, child: Some(child) })
}

fn squid(name: &'static str, stage: &Stage) -> Result<Proxy> {
    let address = free_address()?;
    let hosts: Vec<_> = stage.names().map(|host| format!("{} {host}\n", stage.address.ip())).collect();
    let [certificate, key, upstream] = ["ca.pem", "ca.key", "origin-ca.pem"].map(|file| stage.path(file));
    let [certificate, key, upstream] = [certificate, key, upstream].map(std::fs::read_to_string);
    let folder = stage.path("squid");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    private_folder(&folder)?;
    stage.write("squid/hosts", &hosts.concat())?;
    stage.write("squid/origin-ca.pem", &upstream?)?;
    stage.write("squid/ca.pem", &(certificate? + &key?))?;
    let generator = "/usr/lib/squid/security_file_certgen";
    run(Command::new(generator).args(["-c", "-s"]).arg(folder.join("leaves")).args(["-M", "64MB"]))?;
    let config = include_str!("../peers/squid.conf")
        .replace("@FOLDER@", &text(&folder))
        .replace("@GENERATOR@", generator)
        .replace("@LISTEN@", &address.to_string())
        .replace("@AUTHORIZATION@", AUTHORIZATION);
    let config = stage.write("squid/squid.conf", &config)?;
    if Uid::effective().is_root() {
        // It gives root up for a user of its own, whose all of this must then be.
        std::fs::set_permissions(stage.path(""), Permissions::from_mode(0o711))?;
        run(Command::new("chown").args(["-R", "proxy:"]).arg(&folder))?;
    }
    let child = start(Command::new("squid").arg("-N").arg("-f").arg(config), stage, name, address)?;
    Proxy::tunnelling(name, stage, child, address, "Bearer placeholder")
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<()> {
    let ended = command.stdout(Stdio::null()).status()?;
    if ended.success() { Ok(()) } else { Err(format!("{}: {ended}", text(Path::new(command.get_program()))).into()) }
}

fn mitmproxy(name: &'static str, stage: &Stage, places: &Places) -> Result<Proxy> {
    let address = free_address()?;
    let both = [stage.path("ca.key"), stage.path("ca.pem")].map(std::fs::read_to_string);
    let [key, certificate] = both;
    let folder = stage.path("mitmproxy");
    private_folder(&folder)?;
    stage.write("mitmproxy/mitmproxy-ca.pem", &(key? + &certificate?))?;
    let addon = include_str!("../peers/mitmproxy.py")
        .replace("@HOST@", &stage.address.ip().to_string())
        .replace("@PORT@", &stage.address.port().to_string())
        .replace("@AUTHORIZATION@", AUTHORIZATION);
    let addon = stage.write("mitmproxy.py", &addon)?;
    let mut command = Command::new(places.peers.join("mitmproxy/bin/mitmdump"));
    command.arg("--quiet").arg("--set").arg(format!("confdir={}", text(&folder)));
    command.arg("--set").arg(format!("ssl_verify_upstream_trusted_ca={}", text(&stage.path("origin-ca.pem"))));
    command.args(["--set", "connection_strategy=lazy", "--listen-host", &address.ip().to_string()]);
    command.args(["--listen-port", &address.port().to_string(), "--scripts"]).arg(addon);
    let child = start(&mut command, stage, name, address)?;
    Proxy::tunnelling(name, stage, child, address, "Bearer placeholder")
}

fn hudsucker(name: &'static str, stage: &Stage, places: &Places) -> Result<Proxy> {
    let mut command = Command::new(places.peers.join("release/hudsucker-peer"));
    command.args(["ca.pem", "ca.key", "origin-ca.pem"].map(|file| stage.path(file)));
    let (child, address) = start_announced(command.arg(stage.address.to_string()).arg(AUTHORIZATION))?;
    Proxy::tunnelling(name, stage, child, address, "Bearer placeholder")
}

/// Starts a program that listens at `address` once it is ready; what it says goes to a file of the stage.
fn start(command: &mut Command, stage: &Stage, name: &str, address: SocketAddr) -> Result<Child> {
    let log = stage.path(&format!("{name}.log"));
    let file = File::create(&log)?;
    let started = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
    let mut child = started.map_err(|error| format!("{}: {error}", text(Path::new(command.get_program()))))?;
    let deadline = Instant::now() + START_PATIENCE;
    while TcpStream::connect(address).is_err() {
        let ended = child.try_wait()?;
        if ended.is_some() || Instant::now() > deadline {
            end(&mut child);
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("it does not listen at {address}: {said}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}

fn private_folder(path: &Path) -> Result<()> {
    Ok(DirBuilder::new().recursive(true).mode(0o700).create(path)?)
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
