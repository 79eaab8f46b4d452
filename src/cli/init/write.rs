//! Puts files where they belong: each whole or not at all, none over another, and what
//! was written is taken back when a later one fails.

use super::home::Home;
use crate::exit::{Exit, Failure};
use refreshd_core::secret::Secret;
use rustix::fs::{CWD, Gid, RenameFlags, Uid, fchown, renameat_with};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What is in a file.
pub(super) enum Content {
    Text(String),
    Secret(Secret),
}

/// A file to write.
pub(super) struct Planned {
    pub(super) path: PathBuf,
    pub(super) content: Content,
    mode: u32,
    /// `None`: whoever writes it.
    owner: Option<Owner>,
}

impl Planned {
    /// The service reads it, and root writes it.
    pub(super) fn config(home: &Home, path: &Path, text: String) -> Planned {
        let (mode, owner) = match home.service {
            Some(Owner { gid, .. }) => (0o640, Some(Owner { uid: 0, gid })),
            None => (0o600, None),
        };
        Planned {
            path: path.to_owned(),
            content: Content::Text(text),
            mode,
            owner,
        }
    }

    /// Only the service reads it.
    pub(super) fn secret(home: &Home, path: &Path, secret: Secret) -> Planned {
        Planned {
            path: path.to_owned(),
            content: Content::Secret(secret),
            mode: if home.service.is_some() { 0o400 } else { 0o600 },
            owner: home.service,
        }
    }

    /// In a few words, for a person.
    pub(super) fn named(&self) -> String {
        let what = match self.content {
            Content::Text(_) => "",
            Content::Secret(_) => "the client secret, ",
        };
        let owner = match self.owner {
            Some(Owner { uid: 0, .. }) => ", of root and the group refreshd",
            Some(_) => ", of refreshd",
            None => "",
        };
        format!(
            "{} ({what}mode {:04o}{owner})",
            self.path.display(),
            self.mode
        )
    }

    /// With its content, unless that is secret.
    pub(super) fn shown(&self) -> String {
        let text = match &self.content {
            Content::Text(text) => text.as_str(),
            Content::Secret(_) => "(not shown)\n",
        };
        format!("### {}\n{text}\n", self.named())
    }

    fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Text(text) => text.as_bytes(),
            Content::Secret(secret) => secret.expose().as_bytes(),
        }
    }
}

/// Writes all of them, or none.
pub(super) fn all(home: &Home, files: &[Planned]) -> Result<(), Failure> {
    for (done, file) in files.iter().enumerate() {
        if let Err(error) = one(home, file) {
            for written in files[..done].iter().rev() {
                let _as_far_as_it_can = fs::remove_file(&written.path);
            }
            let path = file.path.display();
            let text = format!("cannot write {path}: {error}; nothing was written");
            return Err(Failure::new(Exit::CannotCreate, text));
        }
    }
    Ok(())
}

fn one(home: &Home, file: &Planned) -> io::Result<()> {
    let dir = file.path.parent().unwrap_or(Path::new("/"));
    make_dir(home, dir)?;
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}.new", std::process::id()));
    let placed = fill(&temporary, file).and_then(|()| place(&temporary, &file.path));
    if placed.is_err() {
        let _as_far_as_it_can = fs::remove_file(&temporary);
    }
    placed?;
    File::open(dir)?.sync_all()
}

/// Owner and mode before the content.
fn fill(temporary: &Path, file: &Planned) -> io::Result<()> {
    let options = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .to_owned();
    let mut handle = options.open(temporary)?;
    if let Some(Owner { uid, gid }) = file.owner {
        fchown(&handle, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    handle.set_permissions(fs::Permissions::from_mode(file.mode))?;
    handle.write_all(file.bytes())?;
    handle.sync_all()
}

/// Not over another, also not over one that has come in between.
fn place(temporary: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // A file system that cannot do that.
        Err(rustix::io::Errno::INVAL) => {
            fs::hard_link(temporary, path)?;
            fs::remove_file(temporary)
        }
        Err(error) => Err(error.into()),
    }
}

/// A directory and those above it, as far as they are missing: of the service's group,
/// or the writer's alone.
fn make_dir(home: &Home, dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(above) = dir.parent() {
        make_dir(home, above)?;
    }
    let mode = match home.service {
        // What root puts there later belongs to the group, too.
        Some(_) if dir.ends_with("secrets") => 0o2750,
        Some(_) => 0o750,
        None => 0o700,
    };
    DirBuilder::new().mode(0o700).create(dir)?;
    if let Some(Owner { gid, .. }) = home.service {
        chown(dir, Some(0), Some(gid))?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
}
