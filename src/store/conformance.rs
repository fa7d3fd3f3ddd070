//! What both databases must do alike, and what a server must survive besides.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::domain::event::LogOpened;
use crate::sql::cluster::{self, Cluster};
use crate::sql::query;
use crate::trail::{Checkpoint, SigningKey, leaf_hash, verify_consistency};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// A database with the tests' own table beside ours.
pub(super) struct Place {
    pub database: Database,
    _folder: tempfile::TempDir,
    pub url: Option<String>,
}

pub(super) async fn place(kind: Kind) -> Place {
    place_in(kind, cluster::shared).await
}

async fn place_in(kind: Kind, cluster: impl FnOnce() -> &'static Cluster) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let (database, url) = match kind {
        Kind::Sqlite => (Database::Sqlite(folder.path().join("state.sqlite")), None),
        Kind::Postgres => {
            let url = tokio::task::block_in_place(|| cluster().database());
            (Database::Postgres(PostgresUrl::new(url.clone())), Some(url))
        }
    };
    database.migrate().await.unwrap();
    let mut conn = database.connect().await.unwrap();
    query("CREATE TABLE notes (word TEXT PRIMARY KEY)").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    Place { database, _folder: folder, url }
}

impl Place {
    /// A database that is there already.
    pub fn at(database: Database) -> Place {
        Place { database, _folder: tempfile::tempdir().unwrap(), url: None }
    }

    pub async fn open(&self) -> Result<Store, OpenError> {
        self.open_with(Arc::new(SystemClock)).await
    }

    async fn open_with(&self, clock: Arc<dyn Clock>) -> Result<Store, OpenError> {
        let origins = Origins::new("gateway.example");
        let keys = LogKeys {
            trail: SigningKey::from_seed(&origins.trail(), &[1; 32]).unwrap().into(),
            authority: SigningKey::from_seed(&origins.authority(), &[2; 32]).unwrap().into(),
        };
        Store::open(&self.database, origins, keys, clock, Arc::new(SystemEntropy)).await
    }

    pub async fn words(&self) -> Vec<String> {
        let mut conn = self.database.connect().await.unwrap();
        let rows = query("SELECT word FROM notes ORDER BY word").fetch_all(&mut conn).await.unwrap();
        rows.iter().map(|row| row.get("word")).collect()
    }

    /// Every leaf stands once, in order, and the signed head is over just these.
    pub async fn check_logs(&self) -> u64 {
        let store = self.open().await.unwrap();
        let head = store.heads().await.unwrap().trail;
        let leaves = logs::leaves(&store.read, Log::Trail, 0, u32::MAX).await.unwrap();
        assert_eq!(leaves.len() as u64, head.size);
        let mut tree = crate::trail::Appender::new();
        for leaf in &leaves {
            tree.append(leaf_hash(leaf));
        }
        let key = store.keys.trail.verifier_key();
        let signed = Checkpoint::open(&head.checkpoint, &store.origins.trail(), key).unwrap();
        assert_eq!((signed.size(), *signed.root()), (head.size, tree.root()));
        store.close().await;
        head.size
    }
}

/// Writes a word and a leaf; the same word twice violates a constraint.
pub(super) struct Write(pub String);

impl Write {
    pub fn word(n: impl std::fmt::Display) -> Write {
        Write(format!("word-{n}"))
    }
}

#[async_trait::async_trait]
impl Command for Write {
    const NAME: &'static str = "write";
    type Output = String;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<String, StoreError> {
        tx.append("test", LogOpened { origin: self.0.clone() })?;
        query("INSERT INTO notes (word) VALUES (?)").bind(&self.0).execute(tx.conn()).await?;
        Ok(self.0.clone())
    }
}

/// Writes all words together, but a word that is there already by itself.
pub(super) struct Together(pub String);

#[async_trait::async_trait]
impl Command for Together {
    const NAME: &'static str = "together";
    const TOGETHER: bool = true;
    type Output = (String, bool);

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, StoreError> {
        Write(self.0.clone()).run(tx).await.map(|word| (word, false))
    }

    async fn run_together(
        commands: &[&Self],
        tx: &mut Tx<'_>,
    ) -> Result<Vec<Option<RanTogether<Self::Output>>>, StoreError> {
        let mut rows = crate::sql::Insert::into("notes", &["word"]);
        let mut ran = Vec::new();
        for command in commands {
            if command.0.starts_with("alone") {
                ran.push(None);
                continue;
            }
            let leaf = tx.append("test", LogOpened { origin: command.0.clone() })?;
            rows.row([(&command.0).into()]);
            ran.push(Some(RanTogether { output: (command.0.clone(), true), leaf: Some(leaf) }));
        }
        rows.execute(tx.conn()).await?;
        Ok(ran)
    }
}

struct RefusesAfterWriting(String);

#[async_trait::async_trait]
impl Command for RefusesAfterWriting {
    const NAME: &'static str = "refuses";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        Write(self.0.clone()).run(tx).await?;
        tx.wake(Topic::AccessKeys);
        Err(Reason::StageConflict.into())
    }
}

#[rstest]
#[case(Kind::Sqlite)]
#[case(Kind::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_with_its_receipt_also_after_a_new_start(#[case] kind: Kind) {
    let place = place(kind).await;
    let store = Arc::new(place.open().await.unwrap());
    let writes = (0..300).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.transact(Write::word(n)).await.unwrap() })
    });
    let mut indexes = HashSet::new();
    for write in writes.collect::<Vec<_>>() {
        let issued = write.await.unwrap().receipt.unwrap();
        let key = store.keys.trail.verifier_key();
        issued.receipt.verify(&issued.leaf, &store.origins.trail(), key).unwrap();
        assert!(indexes.insert(issued.index), "index {} was given twice", issued.index);
        let again = store.receipt(issued.index).await.unwrap();
        assert_eq!(again.leaf, issued.leaf);
    }
    store.close().await;
    assert_eq!(place.check_logs().await, 301);
    assert_eq!(place.words().await.len(), 300);
}

#[rstest]
#[case(Kind::Sqlite)]
#[case(Kind::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_leaves_its_neighbours_alone(#[case] kind: Kind) {
    let place = place(kind).await;
    let store = Arc::new(place.open().await.unwrap());
    let generation = store.wakes().access_keys_generation();
    let mut all = Vec::new();
    for n in 0..40 {
        let store = Arc::clone(&store);
        all.push(tokio::spawn(async move {
            match n % 4 {
                // A constraint, a refusal after a write, and two that go through.
                0 => store.transact(Write::word("same")).await.map(|_| ()),
                1 => store.transact(RefusesAfterWriting(format!("refused-{n}"))).await.map(|_| ()),
                _ => store.transact(Write::word(n)).await.map(|_| ()),
            }
        }));
    }
    let mut ok = 0;
    for one in all {
        ok += u32::from(one.await.unwrap().is_ok());
    }
    assert_eq!(ok, 21);
    assert_eq!(store.wakes().access_keys_generation(), generation, "a refused command woke somebody");
    store.close().await;
    assert_eq!(place.words().await.len(), 21);
    assert_eq!(place.check_logs().await, 22);
}

#[rstest]
#[case(Kind::Sqlite)]
#[case(Kind::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn those_that_run_together_are_answered_each_and_one_that_spoils_it_for_all_spoils_nothing(
    #[case] kind: Kind,
) {
    let place = place(kind).await;
    let store = Arc::new(place.open().await.unwrap());
    store.transact(Write("taken".into())).await.unwrap();
    let words = (0..200).map(|n| match n {
        50 => "alone-1".to_owned(),
        // Violates a constraint in whatever batch it lands in: the others must go through all the same.
        100 => "taken".to_owned(),
        _ => format!("word-{n}"),
    });
    let mut all = Vec::new();
    for word in words {
        let store = Arc::clone(&store);
        all.push(tokio::spawn(async move { (word.clone(), store.transact(Together(word)).await) }));
    }
    for one in all {
        let (word, answer) = one.await.unwrap();
        if word == "taken" {
            assert!(matches!(answer, Err(StoreError::Database(_))));
            continue;
        }
        let committed = answer.unwrap();
        assert_eq!(committed.value.0, word);
        let issued = committed.receipt.unwrap();
        assert!(String::from_utf8_lossy(&issued.leaf).contains(&word), "another's receipt");
    }
    store.close().await;
    assert_eq!(place.words().await.len(), 200);
    assert_eq!(place.check_logs().await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_on_one_database_never_fork_the_trail() {
    let place = place(Kind::Postgres).await;
    let (first, second) = tokio::join!(place.open(), place.open());
    let stores = [Arc::new(first.unwrap()), Arc::new(second.unwrap())];
    let mut all = Vec::new();
    for n in 0..400 {
        let store = Arc::clone(&stores[n % 2]);
        all.push(tokio::spawn(async move { store.transact(Write::word(n)).await.unwrap().receipt.unwrap() }));
    }
    let mut heads = Vec::new();
    let mut indexes = HashSet::new();
    for one in all {
        let issued = one.await.unwrap();
        assert!(indexes.insert(issued.index));
        let key = stores[0].keys.trail.verifier_key();
        issued.receipt.verify(&issued.leaf, &stores[0].origins.trail(), key).unwrap();
        let text = issued.receipt.checkpoint.to_string();
        heads.push(Checkpoint::open(&text, &stores[0].origins.trail(), key).unwrap());
    }
    // Every head that anyone was shown is a prefix of the last.
    heads.sort_by_key(Checkpoint::size);
    let last = heads.last().unwrap().clone();
    for head in &heads {
        let proof =
            logs::prove_consistency(&stores[1].read, Log::Trail, head.size(), last.size()).await.unwrap();
        verify_consistency(head.size(), head.root(), last.size(), last.root(), &proof).unwrap();
    }
    // A leaf that one wrote has its receipt from the other at once.
    let issued = stores[0].transact(Write::word("last")).await.unwrap().receipt.unwrap();
    assert_eq!(stores[1].receipt(issued.index).await.unwrap().leaf, issued.leaf);
    for store in stores {
        store.close().await;
    }
    assert_eq!(place.check_logs().await, 402);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_commits_wakes_those_who_wait_at_another() {
    let place = place(Kind::Postgres).await;
    let (here, there) = (place.open().await.unwrap(), place.open().await.unwrap());
    struct Wake;
    #[async_trait::async_trait]
    impl Command for Wake {
        const NAME: &'static str = "wake";
        type Output = ();
        async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
            tx.wake(Topic::Orders("rtc".parse().unwrap()));
            tx.wake(Topic::AccessKeys);
            Ok(())
        }
    }
    let bell = there.wakes().subscribe(Topic::Orders("rtc".parse().unwrap()));
    let heard = bell.notified();
    tokio::pin!(heard);
    heard.as_mut().enable();
    let before = there.wakes().access_keys_generation();
    here.transact(Wake).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), heard).await.expect("the wake was heard");
    // The two topics arrive one after the other.
    let both = async {
        while there.wakes().access_keys_generation() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("the other wake was heard too");
    here.close().await;
    there.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_under_load_lose_nothing_and_double_nothing() {
    let place = place(Kind::Postgres).await;
    let stores = [Arc::new(place.open().await.unwrap()), Arc::new(place.open().await.unwrap())];
    let name = Cluster::name(place.url.as_deref().unwrap()).to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let cutter = {
        let stop = Arc::clone(&stop);
        tokio::task::spawn_blocking(move || {
            let mut cuts = 0;
            while !stop.load(Ordering::Relaxed) {
                cluster::shared().sql(
                    "postgres",
                    &format!(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
                    ),
                );
                cuts += 1;
                std::thread::sleep(Duration::from_millis(60));
            }
            cuts
        })
    };
    let mut all = Vec::new();
    for worker in 0..16 {
        let store = Arc::clone(&stores[worker % 2]);
        all.push(tokio::spawn(async move {
            let mut answered = Vec::new();
            for n in 0..12 {
                // Not known to be done: asked again, as a client would. Twice is a constraint.
                let word = format!("word-{worker}-{n}");
                loop {
                    match store.transact(Write(word.clone())).await {
                        Ok(_) => break answered.push(word),
                        Err(StoreError::Database(error)) if sequencer::is_constraint(&error) => {
                            break answered.push(word);
                        }
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            }
            answered
        }));
    }
    let mut answered = Vec::new();
    for one in all {
        answered.extend(one.await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    assert!(cutter.await.unwrap() > 0);
    for store in stores {
        store.close().await;
    }
    answered.sort();
    assert_eq!(place.words().await, answered);
    assert_eq!(place.check_logs().await, answered.len() as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_returns_is_gone_on_with() {
    // Of its own: the other tests' server must not fall.
    let cluster: &'static Cluster = tokio::task::block_in_place(|| {
        let cluster = Box::leak(Box::new(Cluster::create()));
        cluster.start();
        cluster
    });
    let place = place_in(Kind::Postgres, move || cluster).await;
    let store = Arc::new(place.open().await.unwrap());
    let mut answered = Vec::new();
    for round in 0..2 {
        let mut all = Vec::new();
        for n in 0..60 {
            let (store, word) = (Arc::clone(&store), format!("word-{round}-{n:02}"));
            all.push(tokio::spawn(async move { store.transact(Write(word.clone())).await.map(|_| word) }));
        }
        tokio::task::block_in_place(|| {
            cluster.stop("immediate");
            cluster.start();
        });
        for one in all {
            answered.extend(one.await.unwrap().ok());
        }
    }
    store.transact(Write("after".into())).await.unwrap();
    store.close().await;
    let words: HashSet<String> = place.words().await.into_iter().collect();
    for word in &answered {
        assert!(words.contains(word), "{word} was answered and is gone");
    }
    assert_eq!(place.check_logs().await, words.len() as u64 + 1);
    cluster.remove();
}

#[tokio::test(flavor = "multi_thread")]
async fn serialization_failures_and_deadlocks_are_tried_again() {
    let place = place(Kind::Postgres).await;
    let mut conn = place.database.connect().await.unwrap();
    // The first three inserts of the session fail as a server under contention would.
    for statement in [
        "CREATE SEQUENCE tries",
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE n BIGINT := nextval('tries'); BEGIN \
           IF n = 1 THEN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END IF; \
           IF n = 2 THEN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END IF; \
           IF n = 3 THEN RAISE EXCEPTION 'x' USING ERRCODE = '55P03'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER fail BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION fail()",
    ] {
        query(statement).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
    let store = place.open().await.unwrap();
    store.transact(Write::word(1)).await.unwrap();
    store.close().await;
    assert_eq!(place.words().await, ["word-1"]);
    assert_eq!(place.check_logs().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_ours_and_a_clock_that_is_off_are_refused() {
    let url = tokio::task::block_in_place(|| cluster::shared().database());
    let empty = Place {
        database: Database::Postgres(PostgresUrl::new(url.clone())),
        _folder: tempfile::tempdir().unwrap(),
        url: Some(url),
    };
    assert!(matches!(empty.open().await, Err(OpenError::Unmigrated)));
    empty.database.migrate().await.unwrap();
    for off in [-60, 60] {
        let clock = crate::domain::clock::FixedClock::at(SystemClock.now().as_second() + off);
        assert!(matches!(empty.open_with(Arc::new(clock.clone())).await, Err(OpenError::ClockOff)));
        // Also where the logs are there already.
        empty.open().await.unwrap().close().await;
        assert!(matches!(empty.open_with(Arc::new(clock)).await, Err(OpenError::ClockOff)));
    }
    let mut conn = empty.database.connect().await.unwrap();
    query("UPDATE _sqlx_migrations SET version = version + 9000").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    assert!(matches!(empty.open().await, Err(OpenError::Unmigrated)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_put_back_to_an_earlier_state_under_a_running_gateway_stops_it() {
    let place = place(Kind::Postgres).await;
    let store = place.open().await.unwrap();
    store.transact(Write::word(1)).await.unwrap();
    let mut conn = place.database.connect().await.unwrap();
    query("UPDATE log_heads SET size = 1 WHERE log = 'trail'").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    assert!(store.transact(Write::word(2)).await.is_err());
    let mut fatal = store.fatal();
    tokio::time::timeout(Duration::from_secs(10), fatal.wait_for(|fatal| *fatal)).await.unwrap().unwrap();
}

fn kept(size: u64, lines: &[(&str, &str)], beside: Option<u64>) -> cosignatures::KeepCosignatures {
    cosignatures::KeepCosignatures {
        log: Log::Trail,
        size,
        checkpoint: format!("head {size}"),
        lines: lines.iter().map(|(name, line)| ((*name).to_owned(), (*line).to_owned())).collect(),
        beside,
        wake_orders: true,
    }
}

#[rstest]
#[case(Kind::Sqlite)]
#[case(Kind::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn of_each_witness_the_newest_cosignature_stays_and_older_heads_are_forgotten(#[case] kind: Kind) {
    let place = place(kind).await;
    let store = place.open().await.unwrap();
    let leaves = store.heads().await.unwrap().trail.size;
    type Lines = &'static [(&'static str, &'static str)];
    let steps: [(u64, Lines, Option<u64>, &[u64]); 5] = [
        (1, &[("w1", "first")], None, &[1]),
        (1, &[("w2", "other"), ("w1", "newer")], None, &[1]),
        (5, &[("w1", "at five")], Some(1), &[1, 5]),
        (7, &[("w1", "at seven")], Some(1), &[1, 7]),
        (9, &[("w1", "at nine"), ("w2", "at nine")], None, &[9]),
    ];
    for (at, (size, lines, beside, sizes)) in steps.into_iter().enumerate() {
        store.transact(kept(size, lines, beside)).await.unwrap();
        let heads = cosignatures::kept(&mut store.reader().await.unwrap(), Log::Trail).await.unwrap();
        assert_eq!(heads.iter().map(|head| head.size).collect::<Vec<_>>(), sizes, "step {at}");
        if at == 1 {
            assert_eq!(heads[0].lines, ["newer", "other"]);
        }
    }
    assert!(cosignatures::kept(&mut store.reader().await.unwrap(), Log::Authority).await.unwrap().is_empty());
    assert_eq!(store.heads().await.unwrap().trail.size, leaves, "a cosignature is no leaf");
    store.close().await;
    let store = place.open().await.unwrap();
    let heads = cosignatures::kept(&mut store.reader().await.unwrap(), Log::Trail).await.unwrap();
    assert_eq!(heads.len(), 1);
    assert_eq!((heads[0].checkpoint.as_str(), heads[0].lines.len()), ("head 9", 2));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_gateways_one_has_the_turn_to_ask_the_witnesses_until_it_ends() {
    let place = place(Kind::Postgres).await;
    let (one, other) = (place.open().await.unwrap(), place.open().await.unwrap());
    let mut turn = one.turn().await.unwrap().expect("nobody has it");
    assert!(turn.keep(&one).await);
    assert!(other.turn().await.unwrap().is_none());
    turn.end(&one).await;
    let mut turn = other.turn().await.unwrap().expect("it is free again");
    assert!(one.turn().await.unwrap().is_none());
    // Whoever has it is not heard of for so long that it is over.
    let mut conn = place.database.connect().await.unwrap();
    query("UPDATE turns SET ends_at = ends_at - 60000").execute(&mut conn).await.unwrap();
    let mut next = one.turn().await.unwrap().expect("it is over");
    assert!(turn.ends() < next.ends());
    // It is to be put off by now, and cannot be.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!turn.keep(&other).await, "another gateway has it");
    // It is put off only by who has it, and given back only by them.
    turn.end(&other).await;
    assert!(next.keep(&one).await && other.turn().await.unwrap().is_none());
    conn.close().await.unwrap();
    one.close().await;
    other.close().await;
}
