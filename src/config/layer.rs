//! Layers of configuration and stacks of them. figment merges their values; a
//! stack also knows which layer a value came from, for diagnostics.

use super::problem::{Problem, Severity};
use super::source_text::{Aim, Path, SourceText, loose_value};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use std::sync::Arc;

/// One source of values.
#[derive(Debug)]
pub(super) struct Layer {
    origin: Origin,
    pub(super) values: Dict,
}

/// Where a layer's values stand.
pub(super) enum Origin {
    /// In the program.
    Defaults,
    /// In a TOML file.
    File(SourceText),
    /// In what was kept of an earlier configuration, under this name.
    Kept(String),
    /// In an environment variable or a command-line option.
    Flag {
        /// What to call it: the variable's name, or `--set KEY`.
        label: String,
        /// Its text, which may be secret.
        text: String,
    },
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Defaults => f.write_str("Defaults"),
            Origin::Kept(name) => write!(f, "Kept({name})"),
            Origin::File(source) => write!(f, "File({})", source.path.display()),
            Origin::Flag { label, .. } => write!(f, "Flag({label})"),
        }
    }
}

impl Layer {
    /// The program's own values.
    pub(super) fn defaults(values: Dict) -> Self {
        Layer {
            origin: Origin::Defaults,
            values,
        }
    }

    /// A TOML file's text.
    pub(super) fn file(
        path: impl Into<std::path::PathBuf>,
        text: String,
    ) -> Result<Self, Box<Problem>> {
        let (source, values) = SourceText::parse(path.into(), text)?;
        Ok(Layer {
            origin: Origin::File(source),
            values,
        })
    }

    /// What an earlier configuration had.
    pub(super) fn kept(name: String, values: Dict) -> Self {
        let origin = Origin::Kept(name);
        Layer { origin, values }
    }

    /// What to call it: a path, a variable's name, or `--set KEY`.
    pub(super) fn name(&self) -> String {
        match &self.origin {
            Origin::Defaults => "defaults".to_owned(),
            Origin::File(source) => source.path.display().to_string(),
            Origin::Kept(name) => name.clone(),
            Origin::Flag { label, .. } => label.clone(),
        }
    }

    /// One value from the environment or the command line. The path is not empty.
    pub(super) fn flag(label: String, path: &[String], text: String) -> Self {
        let wrap = |inner: Value, key: &String| Dict::from([(key.clone(), inner)]).into();
        let value = path.iter().rev().fold(loose_value(&text), wrap);
        let values = value.into_dict().unwrap_or_default();
        Layer {
            origin: Origin::Flag { label, text },
            values,
        }
    }

    /// A problem at a path of this layer.
    pub(super) fn problem(&self, path: &[String], aim: Aim, message: String) -> Problem {
        match &self.origin {
            Origin::Defaults => Problem::error(message),
            Origin::Kept(name) => {
                Problem::error(format!("{name}, as it was when it was sound: {message}"))
            }
            Origin::Flag { label, .. } => Problem::error(format!("{label}: {message}")),
            Origin::File(source) => {
                let mut problem = Problem::error(message).in_file(&source.path);
                problem.spot = source.spot(path, aim);
                problem
            }
        }
    }

    /// Whether something stands at a path of this layer.
    pub(super) fn has(&self, path: &[String]) -> bool {
        self.find(path).is_some()
    }

    fn find(&self, path: &[String]) -> Option<Found<'_>> {
        let Some((first, rest)) = path.split_first() else {
            return Some(Found::Root(&self.values));
        };
        let start = self.values.get(first)?;
        rest.iter()
            .try_fold(start, |value, key| child(value, key))
            .map(Found::Value)
    }
}

enum Found<'a> {
    Root(&'a Dict),
    Value(&'a Value),
}

fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Dict(_, dict) => dict.get(key),
        Value::Array(_, items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// What stands at a path, to be changed.
pub(super) fn child_mut<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match value {
        Value::Dict(_, dict) => dict.get_mut(key),
        Value::Array(_, items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Layers, the later ones winning. Each is seen from a path downward.
#[derive(Clone, Debug, Default)]
pub(super) struct Stack {
    views: Vec<View>,
}

#[derive(Clone, Debug)]
struct View {
    layer: Arc<Layer>,
    root: Path,
}

impl Stack {
    /// The layers as a whole.
    pub(super) fn new(layers: impl IntoIterator<Item = Arc<Layer>>) -> Self {
        let view = |layer| View {
            layer,
            root: Vec::new(),
        };
        Stack {
            views: layers.into_iter().map(view).collect(),
        }
    }

    /// These layers seen from a table downward, laid over another stack.
    pub(super) fn seen_from(&self, root: &[&str], under: &Stack) -> Stack {
        let deeper = |view: &View| {
            let root: Path = join(&view.root, root);
            view.layer.find(&root).is_some().then(|| View {
                layer: view.layer.clone(),
                root,
            })
        };
        let own = self.views.iter().filter_map(deeper);
        Stack {
            views: under.views.iter().cloned().chain(own).collect(),
        }
    }

    /// The merged values: tables merge, arrays replace.
    pub(super) fn merged(&self) -> Value {
        let figment = self
            .views
            .iter()
            .fold(Figment::new(), |figment, view| figment.merge(view));
        let data = figment
            .data()
            .ok()
            .and_then(|mut data| data.remove(&Profile::Default));
        data.unwrap_or_default().into()
    }

    /// The text of an environment variable or option that sets exactly this path.
    pub(super) fn flag_text(&self, path: &[String]) -> Option<&str> {
        let view = self.views.iter().rev().find(|view| view.holds(path))?;
        match &view.layer.origin {
            Origin::Flag { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A problem with the value at a path, told where that value was set last;
    /// with a missing one, told at the table that lacks it.
    pub(super) fn problem(
        &self,
        severity: Severity,
        path: &[String],
        aim: Aim,
        message: String,
    ) -> Problem {
        let found = self.views.iter().rev().find(|view| view.holds(path));
        let mut problem = match found {
            Some(view) => view
                .layer
                .problem(&join_path(&view.root, path), aim, message),
            None => self.problem_above(path, message),
        };
        problem.severity = severity;
        problem
    }

    /// The deepest table above the path that stands anywhere, in a file if possible.
    fn problem_above(&self, path: &[String], message: String) -> Problem {
        for depth in (0..path.len()).rev() {
            let above = &path[..depth];
            let holding = || self.views.iter().rev().filter(|view| view.holds(above));
            let is_flag = |view: &&View| {
                let flag = matches!(view.layer.origin, Origin::Flag { .. });
                flag && !(view.root.is_empty() && above.is_empty())
            };
            let view = holding()
                .find(View::in_file)
                .or_else(|| holding().find(is_flag));
            if let Some(view) = view {
                let full = join_path(&view.root, above);
                return view.layer.problem(&full, Aim::Key, message);
            }
        }
        Problem::error(message)
    }
}

impl View {
    fn in_file(self: &&Self) -> bool {
        matches!(self.layer.origin, Origin::File(_))
    }

    fn holds(&self, path: &[String]) -> bool {
        self.layer.find(&join_path(&self.root, path)).is_some()
    }
}

impl Provider for View {
    fn metadata(&self) -> Metadata {
        Metadata::named("layer")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let dict = match self.layer.find(&self.root) {
            Some(Found::Root(dict) | Found::Value(Value::Dict(_, dict))) => dict.clone(),
            _ => Dict::new(),
        };
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

fn join(root: &[String], path: &[&str]) -> Path {
    root.iter()
        .cloned()
        .chain(path.iter().map(|key| (*key).to_owned()))
        .collect()
}

fn join_path(root: &[String], path: &[String]) -> Path {
    [root, path].concat()
}

/// A path as people write it: `clients."a.b".outputs[0].path`.
pub(super) fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for (depth, key) in path.iter().enumerate() {
        // No other array is that high up, but a grant may be called 17.
        let in_array = depth >= 2 || (depth == 1 && path[0] == "databases");
        if in_array && !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit()) {
            text.push_str(&format!("[{key}]"));
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !key.is_empty() && key.bytes().all(bare) {
            text.push_str(key);
        } else {
            text.push_str(&format!("{key:?}"));
        }
    }
    text
}
