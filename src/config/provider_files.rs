//! Provider descriptions: the embedded ones, and files of one's own that
//! replace them or lie over them.

use super::extract::extract;
use super::layer::{Layer, Stack};
use super::problem::{Problem, Severity, render, suggestion};
use super::source_text::{Aim, Path};
use super::sources::{Sources, own_provider_files};
use figment::value::Value;
use refreshd_core::name;
use refreshd_core::provider::description::Description;
use refreshd_core::text::printable;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

macro_rules! embed {
    ($file:literal) => {
        (
            $file,
            include_str!(concat!("../../config/providers/", $file)),
        )
    };
}

/// The provider files that come with the program. This table is the only place
/// in the code where their names stand.
const EMBEDDED: &[(&str, &str)] = &[
    embed!("blynk.toml"),
    embed!("reteno.toml"),
    embed!("retently.toml"),
    embed!("retm.toml"),
    embed!("retm-staging.toml"),
    embed!("vcita.toml"),
];

/// All providers that a client may name.
#[derive(Debug, Default)]
pub(super) struct Registry {
    embedded: BTreeMap<String, Arc<Layer>>,
    own: BTreeMap<String, Arc<Layer>>,
    good: BTreeMap<String, (Stack, Description)>,
    /// Named somewhere, but not usable; why has been said.
    broken: BTreeSet<String>,
}

/// A provider's name and file.
type Named = (String, Arc<Layer>);

/// What a client's provider came to.
pub(super) enum Lookup<'a> {
    Good(&'a Stack, &'a Description),
    Broken,
    Unknown,
}

impl Registry {
    /// Reads the embedded files and these of one's own.
    pub(super) fn new(
        files: &[(PathBuf, Option<Arc<Layer>>)],
        problems: &mut Vec<Problem>,
    ) -> Registry {
        let mut registry = Registry {
            embedded: embedded(),
            ..Registry::default()
        };
        for (path, layer) in files {
            registry.add(path, layer.as_ref(), problems);
        }
        for name in registry.names() {
            registry.build(&name, problems);
        }
        registry
    }

    /// The description of that name, before a client's overrides.
    pub(super) fn find(&self, name: &str) -> Lookup<'_> {
        match self.good.get(name) {
            Some((stack, description)) => Lookup::Good(stack, description),
            None if self.broken.contains(name) => Lookup::Broken,
            None => Lookup::Unknown,
        }
    }

    /// Every name, broken ones included.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let all = self
            .embedded
            .keys()
            .chain(self.own.keys())
            .chain(&self.broken);
        all.cloned().collect()
    }

    fn add(
        &mut self,
        path: &std::path::Path,
        layer: Option<&Arc<Layer>>,
        problems: &mut Vec<Problem>,
    ) {
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some(layer) = layer else {
            self.broken.insert(stem);
            return;
        };
        let at = ["name".to_owned()];
        let Some(name) = layer.values.get("name").and_then(Value::as_str) else {
            let place = layer.values.get("name").map_or(&[][..], |_| &at[..]);
            let problem =
                layer.problem(place, Aim::Value, "a provider file needs a name".to_owned());
            problems.push(problem.remedy(format!("write name = {stem:?}")));
            self.broken.insert(stem);
            return;
        };
        if !name::is_valid(name) {
            let message = format!("{name:?} is not a provider's name");
            problems.push(layer.problem(&at, Aim::Value, message).remedy(name::RULE));
            self.broken.insert(name.to_owned());
        } else if self.own.contains_key(name) {
            let message = format!("provider {name:?} is described by another file too");
            let remedy = "rename one of them, or remove it";
            problems.push(layer.problem(&at, Aim::Value, message).remedy(remedy));
        } else {
            self.own.insert(name.to_owned(), layer.clone());
        }
    }

    fn build(&mut self, name: &str, problems: &mut Vec<Problem>) {
        let stack = match self.chain(name) {
            Ok(layers) => Stack::new(layers),
            Err(problem) => {
                problems.extend(problem.map(|problem| *problem));
                self.broken.insert(name.to_owned());
                return;
            }
        };
        match describe(&stack, problems) {
            Some(description) => {
                self.good.insert(name.to_owned(), (stack, description));
            }
            None => {
                self.broken.insert(name.to_owned());
            }
        }
    }

    /// The file of that name and those it lies over, the lowest first. An error
    /// without a problem: it is told with another file.
    fn chain(&self, name: &str) -> Result<Vec<Arc<Layer>>, Option<Box<Problem>>> {
        let own = self.own.get(name);
        let first = own.or_else(|| self.embedded.get(name)).ok_or(None)?;
        let mut layers = vec![first.clone()];
        let mut seen = BTreeSet::from([name.to_owned()]);
        let mut current = name.to_owned();
        while let Some((base, layer)) = self.below(&layers[0], &current, &mut seen)? {
            layers.insert(0, layer);
            current = base;
        }
        Ok(layers)
    }

    /// What a file lies over, if anything.
    fn below(
        &self,
        layer: &Layer,
        current: &str,
        seen: &mut BTreeSet<String>,
    ) -> Result<Option<Named>, Option<Box<Problem>>> {
        let Some(base) = layer.values.get("base") else {
            return Ok(None);
        };
        let at = ["base".to_owned()];
        let problem = |message: String| layer.problem(&at, Aim::Value, message);
        let base = base
            .as_str()
            .ok_or_else(|| Some(Box::new(problem("base must be a string".to_owned()))))?;
        // A file may lie over the embedded one of its own name.
        let embedded = self.embedded.get(base).filter(|_| base == current);
        let step = embedded.map_or(base.to_owned(), |_| format!("embedded {base}"));
        if !seen.insert(step) {
            let message = format!("provider {current:?} lies over itself, by way of {base:?}");
            let remedy = "let one of them stand without base";
            return Err(Some(Box::new(problem(message).remedy(remedy))));
        }
        let known = [embedded, self.own.get(base), self.embedded.get(base)];
        match known.into_iter().flatten().next() {
            Some(layer) => Ok(Some((base.to_owned(), layer.clone()))),
            None if self.broken.contains(base) => Err(None),
            None => {
                let problem = problem(format!("unknown provider {base:?}"));
                Err(Some(Box::new(self.with_suggestion(problem, base))))
            }
        }
    }

    /// Adds the nearest known name to a problem about an unknown one.
    pub(super) fn with_suggestion(&self, mut problem: Problem, written: &str) -> Problem {
        let names = self.names();
        problem.remedy = suggestion(written, names.iter().map(String::as_str), "providers");
        problem
    }
}

/// The names of all providers that clients may name: the embedded ones.
#[must_use]
pub fn known_provider_names() -> Vec<String> {
    embedded().into_keys().collect()
}

/// The names of all providers that clients of this configuration may name.
#[must_use]
pub fn provider_names(sources: &Sources) -> Vec<String> {
    let registry = registry_of(sources, &mut Vec::new());
    registry.good.into_keys().collect()
}

/// The description of a provider by its name.
///
/// # Errors
/// What is wrong with it, or which are known.
pub fn description_of(sources: &Sources, name: &str) -> Result<Description, String> {
    let mut problems = Vec::new();
    let registry = registry_of(sources, &mut problems);
    match registry.find(name) {
        Lookup::Good(_, description) => Ok(description.clone()),
        Lookup::Broken => Err(render(&problems)),
        Lookup::Unknown => {
            let problem = Problem::error(format!("unknown provider {:?}", printable(name)));
            let problem = registry.with_suggestion(problem, name);
            let remedy = problem.remedy.map(|remedy| format!("; {remedy}"));
            Err(problem.message + &remedy.unwrap_or_default())
        }
    }
}

fn registry_of(sources: &Sources, problems: &mut Vec<Problem>) -> Registry {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).ok();
        let layer = text.and_then(|text| Layer::file(&path, text).ok());
        (path, layer.map(Arc::new))
    };
    let files: Vec<_> = own_provider_files(sources).into_iter().map(read).collect();
    Registry::new(&files, problems)
}

/// The name and the description in the text of a provider file.
///
/// # Errors
/// What is wrong with it.
pub fn description_in(text: &str) -> Result<(String, Description), String> {
    let layer = Layer::file("the provider file", text.to_owned()).map_err(|e| e.to_string())?;
    let mut problems = Vec::new();
    let description = describe(&Stack::new(vec![Arc::new(layer)]), &mut problems);
    let description = description.ok_or_else(|| render(&problems))?;
    Ok((description.name.clone(), description))
}

/// The embedded provider files: their names and their text.
pub fn embedded_provider_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    EMBEDDED.iter().copied()
}

fn embedded() -> BTreeMap<String, Arc<Layer>> {
    let read = |(file, text): &(&str, &str)| {
        let layer = Layer::file(format!("embedded {file}"), (*text).to_owned()).ok();
        let layer = layer.expect("embedded provider files are TOML");
        let name = layer.values.get("name").and_then(Value::as_str);
        let name = name.expect("embedded provider files have names").to_owned();
        (name, Arc::new(layer))
    };
    EMBEDDED.iter().map(read).collect()
}

/// Reads a description from a stack and checks it by itself.
pub(super) fn describe(stack: &Stack, problems: &mut Vec<Problem>) -> Option<Description> {
    let mut values = stack.merged();
    if let Value::Dict(_, dict) = &mut values {
        dict.remove("base");
    }
    let before = problems.len();
    let extracted = extract::<Description>(stack, values, problems);
    let description = extracted.value?;
    let mut wrong = |path: Path, message: String| {
        if !extracted.reported.contains(&path) {
            problems.push(stack.problem(Severity::Error, &path, Aim::Value, message));
        }
    };
    for problem in description.problems() {
        let path = problem.key.split('.').map(str::to_owned).collect();
        wrong(path, problem.to_string());
    }
    for (name, var) in &description.vars {
        if let Some(Err(why)) = var.default.as_ref().map(|value| var.format.check(value)) {
            let path = ["vars", name, "default"].map(str::to_owned).to_vec();
            wrong(path, format!("vars.{name}.default: {why}"));
        }
    }
    (problems.len() == before).then_some(description)
}
