//! `openshell provider …`.

use clap::{Args, Subcommand, ValueEnum};

use crate::commands::{NewProvider, create_provider, renew_provider};
use crate::credentials::{Provider, Providers, profiles};
use crate::failure::{Failure, Kind};
use crate::home::Home;

/// What to do with providers.
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Make a provider of a profile
    Create(Create),
    /// Show one provider, never a value
    Get {
        /// Its name
        name: String,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show all providers
    List {
        /// Names alone
        #[arg(long)]
        names: bool,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show the profiles that a provider can be made of
    ListProfiles {
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Give credentials of a provider the values that are in your environment now
    Update {
        /// Its name
        name: String,
        #[command(flatten)]
        values: Values,
        /// When they expire
        #[arg(long, value_name = "TIME")]
        credential_expires_at: Option<String>,
    },
    /// Remove providers; their credentials stay in the store
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Keep profiles
    Profile(Rest),
    /// Renew credentials
    Refresh(Rest),
}

/// A new provider.
#[derive(Debug, Args)]
pub struct Create {
    /// A name for it
    #[arg(long)]
    name: String,
    /// The profile's id
    #[arg(long = "type", value_name = "PROFILE")]
    kind: String,
    #[command(flatten)]
    values: Values,
    /// The application's credentials that gcloud keeps
    #[arg(long)]
    from_gcloud_adc: bool,
    /// Credentials that are brought while the sandbox runs
    #[arg(long)]
    runtime_credentials: bool,
    /// Settings of the provider
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
}

/// Where values are.
#[derive(Debug, Args)]
pub struct Values {
    /// A variable of your environment that holds a credential
    #[arg(long = "credential", value_name = "VARIABLE")]
    credentials: Vec<String>,
    /// Every credential of the profile that is in your environment
    #[arg(long)]
    from_existing: bool,
}

/// Whatever follows.
#[derive(Debug, Args)]
pub struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns.
    #[default]
    Table,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Does it.
pub fn provider(command: ProviderCommand) -> Result<(), Failure> {
    let home = Home::open()?;
    match command {
        ProviderCommand::Create(arguments) => create(&home, arguments),
        ProviderCommand::Get { name, output } => {
            let providers = Providers::open(&home)?;
            let provider = providers.get(&name).map_err(plain)?;
            match output {
                Format::Table => {
                    println!("{:<15}{name}", "Name:");
                    println!("{:<15}{}", "Type:", provider.kind);
                    println!("{:<15}{}", "Credentials:", provider.credentials.join(", "));
                }
                Format::Yaml | Format::Json => print(&described(&name, provider), output),
            }
            Ok(())
        }
        ProviderCommand::List { names, output } => list(&Providers::open(&home)?, names, output),
        ProviderCommand::ListProfiles { output } => list_profiles(&home, output),
        ProviderCommand::Update { credential_expires_at: Some(_), .. } => Err(missing(
            "--credential-expires-at",
            "keep where the value is, as with: tollgate credential set NAME --from SOURCE --ttl SECONDS",
        )),
        ProviderCommand::Update { name, values, .. } => {
            refuse_values(&values)?;
            renew_provider(&home, &name, &values.credentials).map_err(plain)?;
            eprintln!("✓ Updated provider {name}");
            Ok(())
        }
        ProviderCommand::Delete { names } => {
            let mut providers = Providers::open(&home)?;
            for name in names {
                providers.delete(&name).map_err(plain)?;
                eprintln!("✓ Deleted provider {name}");
            }
            Ok(())
        }
        ProviderCommand::Profile(_) => {
            let folder = home.path().join("profiles");
            Err(missing(
                "provider profile",
                &format!("put the profile as a file ending in .yaml into {}", folder.display()),
            ))
        }
        ProviderCommand::Refresh(_) => Err(missing(
            "provider refresh",
            "name a source that renews itself: tollgate credential set NAME --from oauth:FILE",
        )),
    }
}

fn create(home: &Home, arguments: Create) -> Result<(), Failure> {
    let Create { name, kind, values, from_gcloud_adc, runtime_credentials, config } = arguments;
    if from_gcloud_adc {
        let instead = "keep the file as a source: tollgate credential set NAME --from oauth:FILE";
        return Err(missing("--from-gcloud-adc", instead));
    }
    if runtime_credentials {
        return Err(missing(
            "--runtime-credentials",
            "name a source that is asked at run time: tollgate credential set NAME --from SOURCE",
        ));
    }
    if !config.is_empty() {
        return Err(missing("--config", "say where credentials go in the policy, or in a profile of your own"));
    }
    refuse_values(&values)?;
    let new = NewProvider { name, kind, credentials: values.credentials, from_existing: values.from_existing };
    create_provider(home, &new).map_err(plain)?;
    eprintln!("✓ Created provider {}", new.name);
    Ok(())
}

fn list(providers: &Providers, names: bool, output: Format) -> Result<(), Failure> {
    match output {
        _ if names => providers.all().keys().for_each(|name| println!("{name}")),
        Format::Table if providers.all().is_empty() => eprintln!("No providers found"),
        Format::Table => {
            println!("{:<24}{:<16}CREDENTIALS", "NAME", "TYPE");
            let rows = providers.all().iter();
            rows.for_each(|(name, one)| println!("{name:<24}{:<16}{}", one.kind, one.credentials.join(", ")));
        }
        Format::Yaml | Format::Json => {
            print(&providers.all().iter().map(|(name, one)| described(name, one)).collect(), output);
        }
    }
    Ok(())
}

fn list_profiles(home: &Home, output: Format) -> Result<(), Failure> {
    let all = profiles(home)?;
    match output {
        Format::Table => {
            println!("{:<24}{:<20}CATEGORY", "ID", "NAME");
            all.values().for_each(|one| println!("{:<24}{:<20}{}", one.id, one.display_name, one.category));
        }
        Format::Yaml | Format::Json => {
            let rows = all.values().map(
                |one| serde_json::json!({ "id": one.id, "display_name": one.display_name, "category": one.category }),
            );
            print(&rows.collect(), output);
        }
    }
    Ok(())
}

fn described(name: &str, one: &Provider) -> serde_json::Value {
    serde_json::json!({ "name": name, "type": one.kind, "credentials": one.credentials })
}

fn print(value: &serde_json::Value, output: Format) {
    match output {
        Format::Yaml => print!("{}", tollgate_policy::yaml::write(value)),
        Format::Table | Format::Json => println!("{value:#}"),
    }
}

/// Other users see command lines, and shells keep them.
fn refuse_values(values: &Values) -> Result<(), Failure> {
    let Some((name, _)) = values.credentials.iter().find_map(|text| text.split_once('=')) else { return Ok(()) };
    let message = format!(
        "the value of {name} stands on the command line, where others read it; export {name} and write --credential {name}"
    );
    Err(Failure::new(Kind::Other, message))
}

/// What is not behind this door, and what to use in its place.
pub fn missing(what: &str, instead: &str) -> Failure {
    Failure::new(Kind::Other, format!("`{what}` is not here: {instead}"))
}

/// Only a mistake of the command line itself ends with 2 here, and a wait that was too long with 124.
pub fn plain(failure: Failure) -> Failure {
    let kind = if failure.kind() == Kind::TimedOut { Kind::TimedOut } else { Kind::Other };
    Failure::new(kind, failure.message())
}
