//! Reads a door's material again while the process runs: at SIGHUP, and when a file has changed.
//!
//! A set takes effect whole or not at all. One that does not load is an error in the log, once, with
//! `MATERIAL_INVALID`, and the set before stays in force. Files are written one after the other, so a
//! change that is found by looking is loaded once two looks see the same; SIGHUP waits for nothing.

use std::fmt::Display;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::material::{Material, MaterialFiles, Materials};
use super::picture::{Picture, picture};
use crate::domain::Reason;

/// Between the look that finds a change and the one that loads it.
const SETTLE: Duration = Duration::from_millis(500);

/// A configuration file that names a door's material.
pub trait Configured: Sized + Send + 'static {
    type Error: Display;

    fn read(path: &Path) -> Result<Self, Self::Error>;

    fn material(&self) -> MaterialFiles;

    /// Other files of the set.
    fn others(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What must hold of the rest before the set takes effect: a sentence where it does not.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Puts new material in force, for as long as [`Reloader::next`] is waited for.
pub struct Reloader<C> {
    path: PathBuf,
    materials: Materials,
    every: Duration,
    hangup: Signal,
    /// What was loaded, or tried, last.
    tried: Picture,
    /// Told of each set before it is in force.
    telling: Box<dyn Fn(&Material) + Send + Sync>,
    _configured: PhantomData<fn() -> C>,
}

/// The files as they were at the start, before any was read for use.
pub struct Before(Picture);

impl Before {
    /// `path` is that of the configuration.
    pub fn reading<C: Configured>(path: &Path) -> Self {
        Self(look::<C>(path))
    }
}

impl<C: Configured> Reloader<C> {
    /// `path` is that of the configuration; the files are looked at every so often, at most each second.
    pub fn new(before: Before, path: &Path, materials: Materials, every: Duration, hangup: Signal) -> Self {
        Self {
            path: path.to_owned(),
            materials,
            every: every.max(Duration::from_secs(1)),
            hangup,
            tried: before.0,
            telling: Box::new(|_| {}),
            _configured: PhantomData,
        }
    }

    /// The same, with somebody who is told of each set before it is in force.
    pub fn telling(self, telling: impl Fn(&Material) + Send + Sync + 'static) -> Self {
        Self { telling: Box::new(telling), ..self }
    }

    /// Waits until another set is in force: the configuration that names it.
    pub async fn next(&mut self) -> C {
        let mut settling = None;
        loop {
            let pause = if settling.is_some() { SETTLE } else { self.every };
            let asked = tokio::select! {
                Some(()) = self.hangup.recv() => true,
                () = tokio::time::sleep(pause) => false,
            };
            let (path, tried) = (self.path.clone(), self.tried);
            // The disk may be slow, and the runtime is not to wait for it.
            let round = tokio::task::spawn_blocking(move || Round::<C>::make(&path, tried, settling, asked));
            let Ok(round) = round.await else {
                tracing::error!(reason = Reason::Internal.code(), "reading the material broke off");
                continue;
            };
            settling = round.settling;
            self.tried = round.tried;
            match round.loaded {
                None => {}
                Some(Ok((config, material))) => {
                    (self.telling)(&material);
                    self.materials.replace(material);
                    tracing::info!(asked, "certificates, anchors and revocation lists were loaded anew");
                    return config;
                }
                Some(Err(error)) => tracing::error!(
                    reason = Reason::MaterialInvalid.code(),
                    error,
                    "{}: the set before stays in force",
                    Reason::MaterialInvalid.what()
                ),
            }
        }
    }
}

/// One look, and what came of it.
struct Round<C> {
    tried: Picture,
    settling: Option<Picture>,
    loaded: Option<Result<(C, Material), String>>,
}

impl<C: Configured> Round<C> {
    fn make(path: &Path, tried: Picture, before: Option<Picture>, asked: bool) -> Self {
        let seen = look::<C>(path);
        if !asked && seen == tried {
            return Self { tried, settling: None, loaded: None };
        }
        if !asked && before != Some(seen) {
            return Self { tried, settling: Some(seen), loaded: None };
        }
        // Should a file change from here on, the next look sees another picture than this.
        Self { tried: seen, settling: None, loaded: Some(load(path)) }
    }
}

fn load<C: Configured>(path: &Path) -> Result<(C, Material), String> {
    let config = C::read(path).map_err(|error| error.to_string())?;
    config.check()?;
    let material = Material::load(&config.material()).map_err(|error| error.to_string())?;
    Ok((config, material))
}

fn look<C: Configured>(path: &Path) -> Picture {
    let (files, others) = match C::read(path) {
        Ok(config) => (Some(config.material()), config.others()),
        Err(_) => (None, Vec::new()),
    };
    let named = files.iter().flat_map(MaterialFiles::paths);
    picture(std::iter::once(path).chain(named).chain(others.iter().map(PathBuf::as_path)))
}
