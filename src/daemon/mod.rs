//! The daemon's wiring: it opens the state, finishes what a crash left, starts
//! engine, outputs and control socket, says READY, and drains at the end.

mod announce;
mod backups;
mod book;
mod healing;
mod maintenance;
mod outputs;
pub mod signals;
mod socket;

use crate::clock::SharedClock;
use crate::config::standby::Boot;
use crate::config::{Config, Sources};
use crate::control::router::serve;
use crate::descriptors::Ration;
use crate::engine::message::Message;
use crate::engine::{Engine, EngineHandle, recovery, save_descriptions};
use crate::enroll::{self, Enroller};
use crate::exchange::Deck;
use crate::exit::{Exit, Failure, internal};
use crate::http::Http;
use crate::incidents::Incidents;
use crate::opening::Make;
use crate::publish::{others, published_generations};
use crate::reload::Reloader;
use crate::service::maintenance::Maintenance;
use crate::service::{Running, Service};
use crate::state::{State, fence_text};
use crate::systemd::notify;
use refreshd_core::incident::{Kind, Subject};
use refreshd_core::text::counted;
use sd_notify::NotifyState;
use signals::{Signal, Signals};
use socket::Socket;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// READY does not wait longer than this for outputs.
const FIRST_PASS: Duration = Duration::from_secs(10);

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start, or something fails that no grant is to blame for.
pub async fn run(boot: Boot, sources: Sources, mut signals: Signals) -> Result<(), Failure> {
    // Nothing that is made here is for others, unless its mode is set by name.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if let Err(e) = crate::hardening::keep_memory_private() {
        tracing::warn!("{e}");
    }
    crate::http::install_tls();
    let config = Arc::new(boot.config);
    let mut state = crate::opening::open(&config, Make::First)?;
    let (store_id, of) = (state.store.store_id().to_owned(), config.clone());
    tokio::task::spawn_blocking(move || tell_others(&store_id, &of));
    let socket = Socket::bind(&config.daemon.runtime_dir)?;
    name_socket(&mut state, &config);
    let web = enroll::serve::bind(&config.enroll)?;
    let ration = Ration::raised(config.databases.len());
    if let Some(remark) = ration.remark(config.daemon.max_flights) {
        tracing::warn!("{remark}");
    }
    let deck = deck(&state, &ration);
    let recalled = Incidents::recall(deck.store.clone(), deck.clock.clone()).await;
    let incidents = recalled.map_err(internal)?;
    let keys = state.keys.clone();
    let upkeep = Maintenance::new(deck.store.clone(), keys, deck.clock.clone());
    let upkeep = Arc::new(upkeep.telling(incidents.clone()));
    // On a full disk the engine sees to it before it refreshes; what lives is served.
    if let Err(e) = save_descriptions(&deck.store, &config).await {
        tracing::error!("{e}");
    }
    let recovered = std::mem::take(&mut state.recovered);
    let left = recovery::finish(&deck, &config, recovered).await?;

    let publisher = outputs::reconciler(&deck, incidents.clone(), ration.outputs)
        .await
        .map_err(internal)?;
    let grants = deck.store.grants().await.map_err(internal)?;
    let fenced = fenced(&deck, &config, &grants).await?;
    if let Some(text) = &fenced {
        incidents.raise(&Subject::Daemon, Kind::Fenced, || text.clone());
    }
    publisher.set_fenced(fenced.is_some());
    let mut engine = Engine::new(
        deck.clone(),
        config.clone(),
        publisher.clone(),
        incidents.clone(),
        fenced,
    );
    engine.load(grants).await;
    let keeping = tokio::spawn(incidents.clone().keep());
    let handle = engine.handle();
    let mut engine = tokio::spawn(engine.run());
    for unsaved in left.unsaved {
        tokio::spawn(unsaved.follow(deck.clone(), handle.clone()));
    }
    let reloader = Arc::new(Reloader::new(
        sources,
        config.clone(),
        deck.clone(),
        publisher.clone(),
        incidents.clone(),
    ));
    reloader.begin(boot.loaded, boot.broken).await;
    let enroller = Enroller::new(deck.clone(), handle.clone(), reloader.clone());
    enroller.finish(left.enrolments).await.map_err(internal)?;
    reloader.retarget(&handle).await;
    tokio::select! {
        _whole = publisher.first_pass(FIRST_PASS) => {}
        _stop = signals.stop() => {}
    }
    let places: HashSet<String> = publisher.reports().iter().map(|o| o.place()).collect();
    incidents.forget(
        |subject| matches!(subject, Subject::Output { place, .. } if !places.contains(place)),
    );

    // Before anybody can begin another: what waits is presented and polled by one task each.
    enroller.resume().await?;
    let (stop, stopped) = watch::channel(false);
    let running = Running {
        engine: handle.clone(),
        reloader: reloader.clone(),
        ration,
        incidents: incidents.clone(),
        enroller: enroller.clone(),
        waits: Semaphore::new(ration.served * 3 / 4),
    };
    let service = Arc::new(Service::running(running, upkeep.clone()));
    let server = tokio::spawn(serve(socket, service, ration.served, stopped));
    let maintenance = maintenance::start(&reloader, &handle, &upkeep, &incidents, ration).await?;
    let (close, closed) = watch::channel(false);
    if let Some(web) = web {
        enroll::serve::start(web, enroller.clone(), &config, ration.served, closed)
            .map_err(internal)?;
    }
    notify(&[NotifyState::Ready]);
    let announcing = tokio::spawn(announce::keep(handle.clone(), reloader.clone()));
    tracing::info!(
        pid = std::process::id(),
        "refreshd is ready: {}, {} configured",
        counted(config.clients.len(), "client"),
        counted(config.grants.len(), "grant")
    );

    wait_for_stop(&mut signals, &reloader, &handle, &mut engine).await?;
    announcing.abort();
    let waits = "stopping: waiting for exchanges under way";
    notify(&[NotifyState::Stopping, NotifyState::Status(waits)]);
    close.send_replace(true);
    drain(&mut signals, &reloader.config(), &handle, &enroller).await;
    drop(maintenance);
    publisher.stop().await;
    // Until now, who asks for a token that lives is given it.
    stop.send_replace(true);
    let socket = server.await.map_err(internal)?;
    engine.abort();
    keeping.abort();
    incidents.write().await;
    let closed = deck.store.close().await;
    rescue(&deck);
    closed.map_err(internal)?;
    socket.remove();
    tracing::info!("refreshd has stopped");
    Ok(())
}

/// What the store has not taken by now is written beside it: it may be the only copy of a
/// refresh token.
fn rescue(deck: &Deck) {
    let answers = deck.unsettled.all();
    if answers.is_empty() {
        return;
    }
    let count = answers.len();
    match deck.store.rescue(&answers) {
        Ok(()) => tracing::warn!(
            count,
            "answers that could not be saved are kept in a file of their own; they are settled at the next start"
        ),
        Err(error) => tracing::error!(
            %error,
            count,
            "answers that could not be saved are lost with this process"
        ),
    }
}

/// A state that is not the one whose tokens are published is told: it may be the wrong one.
fn tell_others(store_id: &str, config: &Config) {
    let places = others::places(config, Some(store_id));
    if let Some(first) = places.first() {
        tracing::warn!(
            count = places.len(),
            "{first} holds what another state of refreshd has published, not the one in {}: see whether this is the right state; if it is, the file is replaced as soon as its grant has a token here",
            config.daemon.state_dir.display()
        );
    }
}

/// Commands find the socket by the lock, whatever their own surroundings say.
fn name_socket(state: &mut State, config: &Config) {
    let socket = config.socket();
    let main = config.files.first().map(PathBuf::as_path);
    let main = main.unwrap_or(Path::new(""));
    let main = std::path::absolute(main).unwrap_or_else(|_| main.to_owned());
    let named = state.lock.as_mut().map(|lock| lock.name(&socket, &main));
    if let Some(Err(e)) = named {
        tracing::warn!(
            "the lock does not name the control socket, so commands look for it in the runtime directory alone: {e}"
        );
    }
}

fn deck(state: &State, ration: &Ration) -> Deck {
    let last_seen = state.last_seen();
    Deck {
        store: state.store.clone(),
        http: Http::within(ration),
        clock: SharedClock::new(last_seen.as_ref()),
        fingerprinter: state.store.fingerprinter(),
        late_answers: Default::default(),
        unsettled: Default::default(),
    }
}

/// Why nothing may be refreshed: the store is behind what it once was.
async fn fenced(
    deck: &Deck,
    config: &Arc<Config>,
    grants: &[refreshd_core::Grant],
) -> Result<Option<String>, Failure> {
    if deck.store.fence().is_none() {
        let store_id = deck.store.store_id().to_owned();
        let published = published_generations(config.clone(), store_id, grants.to_vec()).await;
        let ahead = refreshd_core::fence::published_ahead(grants, &published);
        if let Some(ahead) = ahead {
            deck.store.set_fenced(ahead).await.map_err(internal)?;
        }
    }
    Ok(deck.store.fence().map(|fenced| fence_text(&fenced)))
}

async fn wait_for_stop(
    signals: &mut Signals,
    reloader: &Reloader,
    handle: &EngineHandle,
    engine: &mut tokio::task::JoinHandle<std::io::Result<()>>,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop(name) => {
                    tracing::info!("{name}: stopping");
                    return Ok(());
                }
                Signal::Reload => match reloader.reload(handle).await {
                    Ok(done) => tracing::info!("{done}"),
                    Err(failure) => tracing::error!("the configuration was not reloaded, the old one stays: {failure}"),
                },
            },
            ended = &mut *engine => {
                let why = match ended {
                    Ok(Ok(())) => "the engine has stopped".to_owned(),
                    Ok(Err(e)) => format!("the engine has stopped: {e}"),
                    Err(e) => format!("the engine has failed: {e}"),
                };
                return Err(Failure::new(Exit::Internal, why));
            }
        }
    }
}

/// Waits for flights that are under way, so that their answers are committed;
/// a second signal or the drain limit ends that. What is still out then is in doubt.
async fn drain(signals: &mut Signals, config: &Config, handle: &EngineHandle, enroller: &Enroller) {
    let landed = async { tokio::join!(handle.ask(Message::Drain), enroller.drain()) };
    tokio::select! {
        _ = landed => {}
        () = tokio::time::sleep(config.daemon.drain) => tracing::warn!("some exchanges have not ended; they are settled at the next start"),
        Signal::Stop(name) = signals.next() => tracing::warn!("{name} again: not waiting for exchanges under way"),
    }
}
