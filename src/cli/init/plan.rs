//! All answers together, in the order in which they are asked for.

use super::ask::{Asker, Question};
use super::home::{Home, may_reach};
use super::provider::Chosen;
use super::secret::{Keep, Wanted};
use super::write::Planned;
use super::{Init, draft};
use crate::cli::Context;
use crate::config::{self, Config, Secrets, Sources, group_number};
use crate::exit::{Exit, Failure};
use refreshd_core::name;
use refreshd_core::provider::Description;
use refreshd_core::text::printable;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use url::Url;

/// What is written about a client that is new.
pub(super) struct NewClient {
    pub(super) provider: Chosen,
    pub(super) client_id: String,
    pub(super) secret: Keep,
    pub(super) redirect_uri: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) allow_networks: Vec<String>,
    pub(super) ca_file: Option<PathBuf>,
}

/// See the module.
pub(super) struct Plan {
    pub(super) client: String,
    /// `None`: it is configured already.
    pub(super) new_client: Option<NewClient>,
    pub(super) grant: String,
    pub(super) vars: BTreeMap<String, String>,
    pub(super) output: Option<PathBuf>,
    pub(super) group: Option<String>,
    /// The client asks for its tokens itself: nobody has to authorize.
    pub(super) begins_by_itself: bool,
    adds: bool,
}

impl Plan {
    pub(super) fn make(
        init: &Init,
        context: &Context,
        home: &Home,
        adds: bool,
        asker: &mut Asker,
    ) -> Result<Plan, Failure> {
        let sources = Sources {
            file: Some(home.main.clone()),
            ..context.sources.clone()
        };
        let there = if adds {
            Some(configured(&sources)?)
        } else {
            None
        };
        let there = there.as_ref();
        let (client, description, new_client) = match known_client(init, there, asker)? {
            Some((client, description)) => (client, description, None),
            None => {
                let (client, new) = NewClient::ask(init, &sources, home, there, asker)?;
                let description = new.provider.description.clone();
                (client, description, Some(new))
            }
        };
        let vars = variables(init, &description, asker)?;
        let grant = grant_name(init, home, there, &client, asker)?;
        let group = match init.no_output {
            false => readers(init, home, asker)?,
            true => None,
        };
        let output = output_file(init, home, &grant, group.as_deref(), asker)?;
        let group = group.filter(|_| output.is_some());
        asker.complete()?;
        Ok(Plan {
            client,
            begins_by_itself: description.refresh.asks_anew(),
            new_client,
            grant,
            vars,
            output,
            group,
            adds,
        })
    }

    /// The files to write, those that others refer to first.
    pub(super) fn files(&self, home: &Home) -> Result<Vec<Planned>, Failure> {
        let mut files = Vec::new();
        let new = self.new_client.as_ref();
        if let Some(Keep::Write(path, secret)) = new.map(|new| &new.secret) {
            files.push(Planned::secret(home, path, secret.clone()));
        }
        let provider = new.map(|new| &new.provider);
        if let Some((provider, text)) = provider.and_then(|p| Some((p, p.file.as_ref()?))) {
            let path = home
                .dir()
                .join("providers.d")
                .join(format!("{}.toml", provider.name));
            files.push(Planned::config(home, &path, text.clone()));
        }
        let path = match self.adds {
            true => home
                .dir()
                .join("conf.d")
                .join(format!("{}.toml", self.grant)),
            false => home.main.clone(),
        };
        files.push(Planned::config(
            home,
            &path,
            draft::configuration(self, self.adds),
        ));
        for file in &files {
            if file.path.symlink_metadata().is_ok() {
                let text = format!(
                    "{} is there already, and is not overwritten",
                    file.path.display()
                );
                return Err(Failure::new(Exit::CannotCreate, text));
            }
        }
        Ok(files)
    }
}

impl NewClient {
    fn ask(
        init: &Init,
        sources: &Sources,
        home: &Home,
        there: Option<&Config>,
        asker: &mut Asker,
    ) -> Result<(String, NewClient), Failure> {
        let provider = Chosen::choose(init, sources, home, asker)?;
        let Some(provider) = provider else {
            // What else is needed depends on the provider.
            for (option, given) in [
                ("--client-id ID", init.client_id.is_some()),
                ("--grant NAME", init.grant.is_some()),
            ] {
                if !given {
                    asker.misses(option);
                }
            }
            asker.complete()?;
            return Err(Failure::new(Exit::Usage, "no provider was named"));
        };
        let client = client_name(init, there, &provider.name, asker)?;
        let id = Question {
            text: "Client id, as the provider gave it",
            option: "--client-id ID",
            default: None,
            needed: true,
        };
        let client_id = asker.find(&id, init.client_id.as_deref(), |answer| {
            plain(answer, "a client id")
        })?;
        let wanted = Wanted::by(&provider.description);
        let secret = Keep::find(init, home, &client, wanted, asker)?;
        let redirect_uri = redirect_uri(init, &provider, asker)?;
        let scopes = scopes(init, &provider, asker)?;
        let new = NewClient {
            provider,
            client_id: client_id.unwrap_or_default(),
            secret,
            redirect_uri,
            scopes,
            allow_networks: init.allow_network.iter().map(ToString::to_string).collect(),
            ca_file: init.ca_file.clone(),
        };
        Ok((client, new))
    }
}

/// The configuration that is added to.
fn configured(sources: &Sources) -> Result<Config, Failure> {
    let loaded = config::load_with(sources, Secrets::Leave);
    loaded.config.ok_or_else(|| {
        let text = format!(
            "{}something is wrong with the configuration that is there; mend that first",
            config::render(&loaded.problems)
        );
        Failure::new(Exit::Config, text)
    })
}

/// A client that is configured already, where the grant is to be one of its.
fn known_client(
    init: &Init,
    there: Option<&Config>,
    asker: &mut Asker,
) -> Result<Option<(String, Description)>, Failure> {
    let Some(there) = there.filter(|there| !there.clients.is_empty()) else {
        return Ok(None);
    };
    let names: Vec<&str> = there.clients.keys().map(String::as_str).collect();
    let text = format!(
        "Client of the new grant: {}; or nothing, for a new client",
        names.join(", ")
    );
    let describes_new =
        init.provider.is_some() || init.issuer.is_some() || init.token_url.is_some();
    let question = Question {
        text: &text,
        option: "--client NAME",
        default: None,
        needed: false,
    };
    let look = |name: &str| {
        let client = there.clients.get(name);
        client.map(|client| (name.to_owned(), (*client.description).clone()))
    };
    match &init.client {
        Some(name) if describes_new => match look(name) {
            Some(_) => {
                let text = format!(
                    "--client: {name} is configured already; name another, or leave the provider out to add a grant to it"
                );
                Err(Failure::new(Exit::Usage, text))
            }
            None => Ok(None),
        },
        Some(name) => Ok(look(name)),
        None if describes_new => Ok(None),
        None => asker.find(&question, None, |answer| {
            look(answer).ok_or_else(|| format!("there is no client {}", printable(answer)))
        }),
    }
}

fn client_name(
    init: &Init,
    there: Option<&Config>,
    provider: &str,
    asker: &mut Asker,
) -> Result<String, Failure> {
    let is_free = |name: &str| there.is_none_or(|there| !there.clients.contains_key(name));
    let numbered = (2..).map(|n| format!("{provider}-{n}"));
    let default = std::iter::once(provider.to_owned()).chain(numbered);
    let default = default.into_iter().find(|name| is_free(name));
    if init.client.is_none() {
        return Ok(default.unwrap_or_default());
    }
    let question = Question {
        text: "Name of the client here",
        option: "--client NAME",
        default,
        needed: true,
    };
    let found = asker.find(&question, init.client.as_deref(), |answer| {
        match is_free(answer) {
            true => named(answer),
            false => Err(format!("{answer} is configured already")),
        }
    })?;
    Ok(found.unwrap_or_default())
}

fn redirect_uri(
    init: &Init,
    provider: &Chosen,
    asker: &mut Asker,
) -> Result<Option<String>, Failure> {
    let needed = provider.wants_redirect_uri();
    let description = &provider.description;
    // Where codes are pushed, or nobody authorizes, nobody is sent back.
    let nobody = description.authorize.is_none() || description.pushes_codes();
    if !needed && nobody && init.redirect_uri.is_none() {
        return Ok(None);
    }
    let text = match needed {
        true => "Redirect URI, as it is registered at the provider",
        false => {
            "Redirect URI, as it is registered at the provider (empty: http://127.0.0.1 with any port)"
        }
    };
    let question = Question {
        text,
        option: "--redirect-uri URI",
        default: None,
        needed,
    };
    asker.find(&question, init.redirect_uri.as_deref(), |answer| {
        let url = Url::parse(answer).map_err(|e| format!("it is not an absolute URI: {e}"))?;
        match url.fragment() {
            Some(_) => Err("it may have no fragment (RFC 6749 §3.1.2)".to_owned()),
            None => Ok(answer.to_owned()),
        }
    })
}

/// A provider that is known has those it needs in its own file.
fn scopes(init: &Init, provider: &Chosen, asker: &mut Asker) -> Result<Vec<String>, Failure> {
    let split = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if !init.scope.is_empty() {
        return Ok(init.scope.iter().flat_map(|scope| split(scope)).collect());
    }
    if provider.file.is_none() {
        return Ok(Vec::new());
    }
    let question = Question {
        text: "Scopes to ask for, with blanks between them (empty: the provider decides)",
        option: "--scope SCOPE",
        default: None,
        needed: false,
    };
    let found = asker.find(&question, None, |answer| {
        plain(answer, "a scope").map(|answer| split(&answer))
    })?;
    Ok(found.unwrap_or_default())
}

/// Values of the provider's variables that have no default.
fn variables(
    init: &Init,
    description: &Description,
    asker: &mut Asker,
) -> Result<BTreeMap<String, String>, Failure> {
    let given: BTreeMap<&str, &str> = init
        .var
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let known = description
        .vars
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>();
    if let Some(unknown) = given.keys().find(|name| !known.contains(*name)) {
        let list = match known.is_empty() {
            true => "its provider has none".to_owned(),
            false => format!("its provider has {}", known.join(", ")),
        };
        let text = format!("--var: unknown variable {}; {list}", printable(unknown));
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut vars = BTreeMap::new();
    for (name, var) in &description.vars {
        let given = given.get(name.as_str()).copied();
        if given.is_none() && var.default.is_some() {
            continue;
        }
        let text = format!("{name}, which the provider needs of each grant");
        let option = format!("--var {name}=VALUE");
        let question = Question {
            text: &text,
            option: &option,
            default: None,
            needed: true,
        };
        let check = |answer: &str| {
            let checked = var.format.check(answer).map(|_| answer.to_owned());
            checked.map_err(|why| why.to_string())
        };
        if let Some(value) = asker.find(&question, given, check)? {
            vars.insert(name.clone(), value);
        }
    }
    Ok(vars)
}

fn grant_name(
    init: &Init,
    home: &Home,
    there: Option<&Config>,
    client: &str,
    asker: &mut Asker,
) -> Result<String, Failure> {
    let check = |name: &str| {
        let name = named(name)?;
        if there.is_some_and(|there| there.grants.contains_key(&name)) {
            return Err(format!("there is a grant {name} already"));
        }
        let file = home.dir().join("conf.d").join(format!("{name}.toml"));
        match there.is_some() && file.symlink_metadata().is_ok() {
            true => Err(format!("{} is there already", file.display())),
            false => Ok(name),
        }
    };
    let question = Question {
        text: "Name of the grant: what it is for, as commands will name it",
        option: "--grant NAME",
        default: Some(client.to_owned()).filter(|name| check(name).is_ok()),
        needed: true,
    };
    let found = asker.find(&question, init.grant.as_deref(), check)?;
    Ok(found.unwrap_or_default())
}

fn output_file(
    init: &Init,
    home: &Home,
    grant: &str,
    group: Option<&str>,
    asker: &mut Asker,
) -> Result<Option<PathBuf>, Failure> {
    if init.no_output {
        return Ok(None);
    }
    let check = |path: &Path| {
        home.may_publish(path)?;
        group
            .and_then(number_of)
            .map_or(Ok(()), |group| may_reach(path, group))
    };
    let default = home.tokens.join(grant);
    let default = check(&default)
        .is_ok()
        .then(|| default.display().to_string());
    let question = Question {
        text: "File that other programs read the token from (-: none)",
        option: "--output FILE",
        default,
        needed: true,
    };
    let given = init.output.as_ref().map(|path| path.display().to_string());
    let found = asker.find(&question, given.as_deref(), |answer| match answer {
        "-" => Ok(None),
        _ => check(Path::new(answer)).map(|()| Some(PathBuf::from(answer))),
    })?;
    Ok(found.flatten())
}

/// The group whose programs read the file.
fn readers(init: &Init, home: &Home, asker: &mut Asker) -> Result<Option<String>, Failure> {
    let question = Question {
        text: "Group whose programs may read it (empty: only the user that refreshd runs as)",
        option: "--group GROUP",
        default: None,
        needed: false,
    };
    asker.find(&question, init.group.as_deref(), |answer| {
        let number =
            number_of(answer).ok_or_else(|| format!("there is no group {}", printable(answer)))?;
        home.may_give_to(number)?;
        Ok(answer.to_owned())
    })
}

/// The number of a group that is named by either.
fn number_of(group: &str) -> Option<u32> {
    group.parse().ok().or_else(|| group_number(group))
}

fn named(name: &str) -> Result<String, String> {
    match name::is_valid(name) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "{:?} is not a name: {}",
            printable(name),
            name::RULE
        )),
    }
}

/// Text that goes into requests as it is.
fn plain(text: &str, what: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err(format!("{what} holds no control character")),
        false => Ok(text.to_owned()),
    }
}
