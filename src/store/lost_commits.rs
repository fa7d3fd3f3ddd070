//! A `COMMIT` whose answer never comes, or is that the server ended it: what was written, and what the callers
//! are told.
//!
//! The store's connections lead through a line of the test's own that reads the messages (PostgreSQL
//! protocol 3) and cuts at the COMMIT: before the server gets it, or once the server has carried it out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::conformance::{Kind, Place, Write, place};
use super::*;
use crate::sql::query;

const SOCKET: &str = ".s.PGSQL.5432";
const SSL_REQUEST: u32 = 80_877_103;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cut {
    /// The server does not hear of the COMMIT.
    Before,
    /// The server has committed; the client does not hear of it.
    After,
}

#[derive(Default)]
struct State {
    /// What becomes of the next COMMIT.
    cut: Option<Cut>,
    /// After the cut no connection is let through.
    stays_away: bool,
    away: bool,
    /// What is cut is not closed: nobody is told.
    silent: bool,
}

/// The line, for as long as this lives.
pub(super) struct Line {
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    /// Rings when every connection falls silent.
    silence: Arc<Notify>,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn to(server: &Path) -> Line {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let (state, server) = (Arc::new(Mutex::new(State::default())), server.join(SOCKET));
        let silence = Arc::new(Notify::new());
        let (shared, silenced) = (Arc::clone(&state), Arc::clone(&silence));
        let listening = tokio::spawn(async move {
            let mut unheard = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                let (away, silent) = {
                    let state = locked(&shared);
                    (state.away, state.silent)
                };
                if away && silent {
                    unheard.push(client);
                } else if !away {
                    let relay = relay(client, server.clone(), Arc::clone(&shared), Arc::clone(&silenced));
                    tokio::spawn(relay);
                }
            }
        });
        Line { folder, state, silence, listening }
    }

    /// The next COMMIT is the last that passes over its connection, one way or both; neither side is told.
    pub(super) fn swallow(&self, cut: Cut) {
        *locked(&self.state) = State { cut: Some(cut), silent: true, ..State::default() };
    }

    /// Nothing passes any more over any connection that there is, nor over new ones where it is `dark`.
    pub(super) fn fall_silent(&self, dark: bool) {
        *locked(&self.state) = State { away: dark, silent: true, ..State::default() };
        self.silence.notify_waiters();
    }

    fn cut(&self, cut: Cut, stays_away: bool) {
        *locked(&self.state) = State { cut: Some(cut), stays_away, ..State::default() };
    }

    fn mend(&self) {
        *locked(&self.state) = State::default();
    }

    pub(super) fn was_cut(&self) -> bool {
        locked(&self.state).cut.is_none()
    }
}

/// One connection, until either side closes it or it is cut; a silent cut leaves it open on both sides.
async fn relay(client: UnixStream, server: PathBuf, state: Arc<Mutex<State>>, silence: Arc<Notify>) {
    let Ok(server) = UnixStream::connect(server).await else { return };
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let cut = tokio::select! {
        cut = asks(&mut from_client, &mut to_server, Arc::clone(&to_client), &state) => cut.is_ok(),
        cut = answers(&mut from_server, Arc::clone(&to_client), &state) => cut.is_ok(),
        () = silence.notified() => true,
    };
    if cut && locked(&state).silent {
        std::future::pending::<()>().await;
    }
}

/// A message: its type, if it has one, and all its bytes.
async fn message(from: &mut OwnedReadHalf, typed: bool) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = if typed { from.read_u8().await? } else { 0 };
    let length = from.read_u32().await?;
    let mut all = Vec::new();
    if typed {
        all.push(kind);
    }
    all.extend(length.to_be_bytes());
    let head = all.len();
    all.resize(head + length as usize - 4, 0);
    from.read_exact(&mut all[head..]).await?;
    Ok((kind, all))
}

/// The texts a message begins with, each ended by a zero.
fn texts(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message[5..].split(|byte| *byte == 0)
}

async fn asks(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    back: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    loop {
        let (_, first) = message(from, false).await?;
        if first[4..8] != SSL_REQUEST.to_be_bytes() {
            to.write_all(&first).await?;
            break;
        }
        back.lock().await.write_all(b"N").await?;
    }
    let mut commit = None;
    loop {
        let (kind, bytes) = message(from, true).await?;
        let mut texts = texts(&bytes);
        let (one, two) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        if kind == b'P' && two == b"COMMIT" {
            commit = Some(one.to_vec());
        }
        // Bind names the statement that was parsed.
        let is_commit = kind == b'B' && commit.as_deref() == Some(two);
        if is_commit && locked(state).cut == Some(Cut::Before) {
            cut_now(state);
            return Ok(());
        }
        to.write_all(&bytes).await?;
    }
}

async fn answers(
    from: &mut OwnedReadHalf,
    to: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    loop {
        let (kind, bytes) = message(from, true).await?;
        let committed = kind == b'C' && texts(&bytes).next() == Some(b"COMMIT");
        if committed && locked(state).cut == Some(Cut::After) {
            cut_now(state);
            return Ok(());
        }
        to.lock().await.write_all(&bytes).await?;
    }
}

fn cut_now(state: &Mutex<State>) {
    let mut state = locked(state);
    (state.cut, state.away) = (None, state.stays_away);
}

/// A database, and the same through a line that can be cut.
pub(super) async fn place_behind_a_line() -> (Place, Place, Line) {
    let place = place(Kind::Postgres).await;
    let url = place.url.clone().unwrap();
    let (rest, server) = url.rsplit_once("host=").unwrap();
    let line = Line::to(Path::new(server));
    let url = format!("{rest}host={}", line.folder.path().display());
    let behind = Place::at(Database::Postgres(PostgresUrl::new(url)));
    (place, behind, line)
}

pub(super) fn is_unavailable<T>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Refused(refusal)) if refusal.reason == Reason::Unavailable)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_or_made_again_and_answered_once() {
    for cut in [Cut::Before, Cut::After] {
        let (place, behind, line) = place_behind_a_line().await;
        let store = behind.open().await.unwrap();
        store.transact(Write::word(1)).await.unwrap();
        line.cut(cut, false);
        let issued = store.transact(Write::word(2)).await.unwrap().receipt.unwrap();
        assert!(line.was_cut(), "the COMMIT went through");
        let key = store.keys.trail.verifier_key();
        issued.receipt.verify(&issued.leaf, &store.origins.trail(), key).unwrap();
        assert_eq!(store.receipt(issued.index).await.unwrap().leaf, issued.leaf);
        store.transact(Write::word(3)).await.unwrap();
        store.close().await;
        assert_eq!(place.words().await, ["word-1", "word-2", "word-3"]);
        assert_eq!(place.check_logs().await, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_nobody_can_look_up_is_never_answered_ok_and_the_gateway_goes_on() {
    let (place, behind, line) = place_behind_a_line().await;
    let store = behind.open().await.unwrap();
    let mut fatal = store.fatal();
    line.cut(Cut::After, true);
    assert!(is_unavailable(store.transact(Write::word(1)).await), "it was answered, and nobody could know");
    assert!(line.was_cut());
    line.mend();
    assert!(!*fatal.borrow_and_update(), "a server that was away for a while stopped the gateway");
    // It had been committed: whoever asks again, as clients do, finds it done.
    let again = store.transact(Write::word(1)).await;
    assert!(matches!(again, Err(StoreError::Database(error)) if sequencer::is_constraint(&error)));
    let issued = store.transact(Write::word(2)).await.unwrap().receipt.unwrap();
    assert_eq!(issued.index, 2, "it goes on behind the leaf that it did not know of");
    store.close().await;
    assert_eq!(place.words().await, ["word-1", "word-2"]);
    assert_eq!(place.check_logs().await, 3);
}

/// Writes a word and no leaf.
struct Leafless(&'static str);

#[async_trait::async_trait]
impl Command for Leafless {
    const NAME: &'static str = "leafless";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        query("INSERT INTO notes (word) VALUES (?)").bind(self.0).execute(tx.conn()).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_leaves_whose_commit_is_lost_is_neither_answered_ok_nor_made_again() {
    for (cut, words) in [(Cut::Before, vec!["after"]), (Cut::After, vec!["after", "lost"])] {
        let (place, behind, line) = place_behind_a_line().await;
        let store = behind.open().await.unwrap();
        line.cut(cut, false);
        assert!(is_unavailable(store.transact(Leafless("lost")).await));
        assert!(line.was_cut());
        store.transact(Leafless("after")).await.unwrap();
        store.close().await;
        assert_eq!(place.words().await, words);
        assert_eq!(place.check_logs().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_server_itself_ends_is_made_again_also_without_leaves() {
    let place = place(Kind::Postgres).await;
    let mut conn = place.database.connect().await.unwrap();
    for statement in [
        "CREATE SEQUENCE commits",
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE n BIGINT := nextval('commits'); BEGIN \
           IF n = 1 THEN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END IF; \
           IF n = 2 THEN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END IF; RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED \
           FOR EACH ROW EXECUTE FUNCTION fail()",
    ] {
        query(statement).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
    let store = place.open().await.unwrap();
    store.transact(Leafless("once")).await.unwrap();
    store.transact(Write::word(1)).await.unwrap();
    store.close().await;
    assert_eq!(place.words().await, ["once", "word-1"]);
    assert_eq!(place.check_logs().await, 2);
}
