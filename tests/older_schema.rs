//! A database as an earlier release left it, with rows in it, is brought up to date: nothing is missing, and the
//! tables are what the leaves say.
//!
//! It is made of a present one: the earlier migrations make its tables, and what they have room for is copied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mandate::domain::Act;
use rstest::rstest;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::backup::{carry_out, database, lose_database, mandate, submit_mail};
use crate::cluster;
use crate::harness::{Process, World};
use crate::load::On;

const MAIL: &[u8] = include_bytes!("../examples/mail/02-vague-english.eml");

/// The text of each migration, in order.
fn migrations(of: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(of);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("they are there")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).expect("SQL")).collect()
}

/// How many rows each table has.
type Rows = BTreeMap<String, u64>;

fn file(world: &World) -> PathBuf {
    world.path().join("data/gateway.sqlite")
}

async fn opened(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options.foreign_keys(false)).await.expect("it opens")
}

async fn run(conn: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.expect("it runs");
}

async fn text(conn: &mut SqliteConnection, sql: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await.expect("one text")
}

async fn tables(conn: &mut SqliteConnection) -> Vec<String> {
    const TABLES: &str =
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    sqlx::query_scalar(TABLES).fetch_all(conn).await.expect("tables")
}

async fn rows_of_file(path: &Path) -> Rows {
    let mut conn = opened(path).await;
    let mut rows = Rows::new();
    for table in tables(&mut conn).await {
        let count = text(&mut conn, &format!("SELECT CAST(count(*) AS TEXT) FROM {table}")).await;
        rows.insert(table, count.parse().expect("a number"));
    }
    conn.close().await.expect("closed");
    rows
}

/// The file, when only the first of the migrations had been made; from a present one.
async fn older_file(path: &Path, newest: &Path, first: &[String]) {
    let mut conn = opened(path).await;
    for migration in first {
        run(&mut conn, migration).await;
    }
    run(&mut conn, &format!("ATTACH '{}' AS newest", newest.display())).await;
    let applied =
        text(&mut conn, "SELECT sql FROM newest.sqlite_master WHERE name = '_sqlx_migrations'").await;
    run(&mut conn, &applied).await;
    for table in tables(&mut conn).await {
        let columns = format!("SELECT group_concat(name, ', ') FROM pragma_table_info('{table}', 'main')");
        let columns = text(&mut conn, &columns).await;
        let copy = format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newest.{table}");
        run(&mut conn, &copy).await;
    }
    run(&mut conn, &format!("DELETE FROM main._sqlx_migrations WHERE version > {}", first.len())).await;
    conn.close().await.expect("closed");
}

fn rows_of_database(name: &str) -> Rows {
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
    let tables = cluster::shared().sql(name, tables);
    let count = |table: &str| format!("SELECT '{table} ' || count(*) FROM {table}");
    let counts: Vec<String> = tables.lines().map(count).collect();
    let told = cluster::shared().sql(name, &counts.join(" UNION ALL "));
    let row = |line: &str| {
        let (table, count) = line.split_once(' ').expect("two words");
        (table.to_owned(), count.parse().expect("a number"))
    };
    told.lines().map(row).collect()
}

/// The database on the server, when only the first of the migrations had been made; from a present one.
fn older_database(name: &str, newest: &str, first: &[String]) {
    let server = cluster::shared();
    server.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
    server.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {newest}"));
    let copy = "DO $$ DECLARE t text; columns text; BEGIN
        FOR t IN SELECT table_name FROM information_schema.tables WHERE table_schema = 'older' LOOP
            SELECT string_agg(quote_ident(column_name), ', ') INTO columns
                FROM information_schema.columns WHERE table_schema = 'older' AND table_name = t;
            EXECUTE format('INSERT INTO older.%I (%s) SELECT %s FROM public.%I', t, columns, columns, t);
        END LOOP; END $$;";
    let text = format!(
        "SET session_replication_role = replica; CREATE SCHEMA older; SET search_path = older;
        {}
        CREATE TABLE _sqlx_migrations (LIKE public._sqlx_migrations INCLUDING ALL);
        {copy}
        DELETE FROM _sqlx_migrations WHERE version > {};
        ALTER SCHEMA public RENAME TO newest; ALTER SCHEMA older RENAME TO public;",
        first.join("\n"),
        first.len(),
    );
    server.sql(name, &text);
}

/// The present database, set aside: a file, or a name on the server.
enum Newest {
    File(PathBuf),
    Database(String),
}

impl Newest {
    /// Nobody has the database open.
    fn aside(world: &World, on: On) -> Self {
        match on {
            On::Sqlite => {
                let newest = world.path().join("newest.sqlite");
                std::fs::rename(file(world), &newest).expect("set aside");
                Self::File(newest)
            }
            On::Postgres => {
                let name = database(world);
                let newest = format!("{name}_newest");
                cluster::shared().sql("postgres", &format!("CREATE DATABASE {newest} TEMPLATE {name}"));
                Self::Database(newest)
            }
        }
    }

    fn migrations(&self) -> Vec<String> {
        match self {
            Self::File(_) => migrations("sqlite"),
            Self::Database(_) => migrations("postgres"),
        }
    }

    /// Puts the older one in its place.
    async fn older(&self, world: &World, first: &[String]) {
        match self {
            Self::File(newest) => {
                lose_database(world);
                older_file(&file(world), newest, first).await;
            }
            Self::Database(newest) => older_database(&database(world), newest, first),
        }
    }

    /// Tables that the older one had no room for get the rows that the leaves tell of, as if they came since.
    async fn since(&self, world: &World, tables: &[&String]) {
        let copies: Vec<String> =
            tables.iter().map(|table| format!("INSERT INTO {table} SELECT * FROM newest.{table};")).collect();
        match self {
            Self::File(newest) => {
                let mut conn = opened(&file(world)).await;
                run(&mut conn, &format!("ATTACH '{}' AS newest", newest.display())).await;
                for copy in &copies {
                    run(&mut conn, &copy.replace("INTO ", "INTO main.")).await;
                }
                conn.close().await.expect("closed");
            }
            Self::Database(_) => {
                let text = format!("{} DROP SCHEMA newest CASCADE;", copies.concat());
                cluster::shared().sql(&database(world), &text);
            }
        }
    }

    async fn rows(&self, world: &World) -> Rows {
        let mut rows = match self {
            Self::File(_) => rows_of_file(&file(world)).await,
            Self::Database(_) => rows_of_database(&database(world)),
        };
        rows.remove("_sqlx_migrations");
        rows
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_with_rows_is_brought_up_to_date_and_loses_none(#[case] on: On) {
    let mut world = match on {
        On::Sqlite => World::without_agent(|_| {}).await,
        On::Postgres => World::on_postgres(1).await,
    };
    world.agent = Some(Process::agent(world.path()));
    submit_mail(&world, MAIL, 1).await;
    carry_out(&world, Act::Erase, "u_8839201").await;
    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").stop();

    let newest = Newest::aside(&world, on);
    let migrations = newest.migrations();
    assert!(migrations.len() > 1);
    // The oldest last: the gateway goes on with that one.
    for made in (1..migrations.len()).rev() {
        newest.older(&world, &migrations[..made]).await;
        let before = newest.rows(&world).await;
        assert!(before["key_sets"] > 0 && before["executions"] > 0 && before["messages"] > 0, "{before:?}");
        let (done, text) = mandate(&["migrate", "--config"], &[&world.path().join("gateway.toml")]);
        assert!(done, "from {made}: {text}");
        let after = newest.rows(&world).await;
        for (table, count) in &before {
            assert_eq!(after.get(table), Some(count), "{table}, from {made}");
        }
        let new: Vec<&String> = after.keys().filter(|table| !before.contains_key(*table)).collect();
        newest.since(&world, &new).await;
        world.examine();
    }
    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));
    carry_out(&world, Act::Erase, "u_8840002").await;
    world.export_and_verify().await;
}
