use std::path::{Path, PathBuf};

use clap::Parser;

use super::*;
use crate::cli::Cli;
use crate::domain::clock::SystemEntropy;
use crate::token::{Digest, KeyKind, PrivateKey, SignedKeySet};

const ORIGIN: &str = "mandate.ppio.example/trail";

/// A folder with the private and the public JWK of each of these.
struct Office(tempfile::TempDir);

impl Office {
    fn with(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let key = PrivateKey::generate(KeyKind::P256, &SystemEntropy).unwrap();
            files::write_secret(&dir.path().join(format!("{name}.jwk")), key.to_jwk()).unwrap();
            files::write_public(&dir.path().join(format!("{name}.pub")), key.public().canonical()).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `mandate keyset …`, where `@name` is a file of the folder.
    fn keyset(&self, line: &str) -> Result<(), String> {
        let folder = format!("{}/", self.0.path().display());
        let words = line.split_whitespace().map(|word| word.replace('@', &folder));
        let cli = Cli::try_parse_from(["mandate".to_owned(), "keyset".to_owned()].into_iter().chain(words));
        let cli = cli.map_err(|error| error.to_string())?;
        let crate::cli::Command::Keyset(keyset) = cli.command else { panic!("another command") };
        keyset.run().map_err(|error| error.to_string())
    }

    fn first(&self) {
        self.keyset(&format!(
            "new --iss controllers/xingyu --aud {ORIGIN} --root board=@root.pub --key ann=@ann.pub --key bob=@bob.pub \
             --role preview=1:ann,bob --role erase=2:ann,bob --out @1.unsigned"
        ))
        .unwrap();
        self.keyset("sign @1.unsigned --key @root.jwk --out @1.json").unwrap();
    }
}

impl Office {
    fn set(&self, name: &str) -> KeySetFile {
        KeySetFile::read(&self.path(name)).unwrap()
    }

    /// What is said of the set, with these given as the versions before; the code where it is refused.
    fn judged(&self, name: &str, before: &[&str]) -> String {
        let before = verdict::in_order(before.iter().map(|name| self.set(name)).collect());
        match verdict::verdict(&self.set(name), &before, SystemClock.now_seconds()) {
            Ok(lines) => lines.join("\n"),
            Err(CliError::Refusal(refusal)) => refusal.reason.code().to_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Version 2 of [`Office::first`]: these changes, signed by the root.
    fn second(&self, changes: &str) {
        self.first();
        self.keyset(&format!("rotate @1.json {changes} --out @2.unsigned")).unwrap();
        self.keyset("sign @2.unsigned --key @root.jwk --previous @1.json --out @2.json").unwrap();
    }
}

fn read(path: &Path) -> SignedKeySet {
    SignedKeySet::read(&files::read(path).unwrap()).unwrap()
}

#[test]
fn a_set_is_made_signed_rotated_and_followed() {
    let office = Office::with(&["root", "ann", "bob", "root-2", "cleo"]);
    office.first();
    let first = read(&office.path("1.json"));
    let pin: Digest = first.digest();
    let iss = first.iss().clone();
    let first = first.genesis(&iss, ORIGIN, &pin).unwrap();

    // Ann leaves, Cleo comes, the root is handed over: both roots sign.
    office
        .keyset(
            "rotate @1.json --remove ann --key cleo=@cleo.pub --root council=@root-2.pub --remove board \
             --role root=1:council --role preview=1:bob,cleo --role erase=2:bob,cleo --out @2.unsigned",
        )
        .unwrap();
    office.keyset("sign @2.unsigned --key @root.jwk --previous @1.json --out @2.half").unwrap();
    assert!(read(&office.path("2.half")).succeed(&first).is_err(), "the new root has not signed");
    office.keyset("sign @2.half --key @root-2.jwk --previous @1.json --out @2.json").unwrap();
    let second = read(&office.path("2.json")).succeed(&first).unwrap();
    assert_eq!((second.version(), second.prev()), (2, Some(pin)));
    assert!(second.keys().all(|(_, key)| key.signer != "ann" && key.signer != "board"));
}

#[test]
fn show_and_diff_tell_people_what_they_sign() {
    let office = Office::with(&["root", "ann", "bob", "cleo"]);
    office.first();
    office.keyset("rotate @1.json --key cleo=@cleo.pub --role erase=1:ann,cleo --out @2.unsigned").unwrap();
    let set = |name: &str| KeySetFile::read(&office.path(name)).unwrap();
    let (first, second) = (set("1.json"), set("2.unsigned"));

    let shown = show::show(&first, None, 0).unwrap();
    let digest = first.digest();
    for part in [
        "controllers/xingyu, version 1",
        "erase             2 of 2: ann, bob",
        &digest.to_string(),
        &show::aloud(digest.as_bytes()),
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(office.judged("1.json", &[]).starts_with("good as a first version"));
    let shown = office.judged("2.unsigned", &["1.json"]);
    assert!(shown.contains("its own root threshold: 0 of 1; may sign: board"), "{shown}");
    assert!(shown.contains("the previous version's root threshold: 0 of 1"), "{shown}");

    let told = diff::diff(&first, &second).unwrap();
    for part in [
        "version 1 → 2, which follows it",
        "+ instruction key of cleo  ES256",
        "~ role erase  2 of 2 → 1 of 2; - bob; + cleo",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    assert!(!told.contains("preview"), "{told}");
    assert!(diff::diff(&first, &first).unwrap().contains("DOES NOT FOLLOW IT"));
}

#[test]
fn what_would_not_be_taken_is_not_written() {
    let office = Office::with(&["root", "ann", "bob"]);
    office.first();
    for (line, said) in [
        // More signers than there are; a stranger; somebody whose key is a root key; nobody.
        ("rotate @1.json --role erase=3:ann,bob --out @x", "KEY_SET_MALFORMED"),
        ("rotate @1.json --role erase=1:eve --out @x", "eve has no instruction key"),
        ("rotate @1.json --role erase=1:board --out @x", "board has no instruction key"),
        ("rotate @1.json --remove eve --out @x", "no such key or signer"),
        ("rotate @1.json --remove board --out @x", "KEY_SET_MALFORMED"),
        ("rotate @1.json --key ann@xingyu.example=@ann.pub --out @x", "KEY_SET_MALFORMED"),
        ("rotate @1.json --role delete=1:ann --out @x", "root or an act"),
        ("rotate @1.unsigned --out @x", "not signed"),
        ("add @1.json --role erase=1:ann --out @x", "rotate it instead"),
        ("sign @1.unsigned --key @ann.jwk --out @x", "root keys alone"),
        ("sign @1.json --key @root.jwk --out @x", "signed already"),
        ("new --iss controllers/xingyu --aud t --root board=@root.jwk --out @x", "KEY_UNSUITABLE"),
    ] {
        // `ann@…` is a signer, not a file.
        let line = line.replace("ann@xingyu.example", "ann%xingyu.example");
        let error = office.keyset(&line).expect_err(&line);
        assert!(error.contains(said), "{line}: {error}");
        assert!(!office.path("x").exists(), "{line}");
    }
}

#[test]
fn an_unsigned_set_may_still_be_changed() {
    let office = Office::with(&["root", "ann", "bob"]);
    office.first();
    office.keyset("add @1.unsigned --role export=1:bob --days 30 --out @1b.unsigned").unwrap();
    office.keyset("add @1b.unsigned --role export=0 --out @1c.unsigned").unwrap();
    let set = |name: &str| KeySetFile::read(&office.path(name)).unwrap();
    assert!(set("1b.unsigned").roles().iter().any(|(role, ..)| *role == "export"));
    assert!(set("1c.unsigned").roles().iter().all(|(role, ..)| *role != "export"));
    let life = |set: KeySetFile| set.seconds("exp").unwrap() - set.seconds("iat").unwrap();
    assert_eq!(life(set("1b.unsigned")), 30 * 86_400);
    assert_eq!(life(set("1c.unsigned")), 30 * 86_400);
    assert_eq!(life(set("1.unsigned")), 365 * 86_400);
}

#[test]
fn a_policy_is_carried_on_and_shown() {
    let office = Office::with(&["root", "ann", "bob"]);
    office.first();
    files::write_public(&office.path("policy"), r#"{"hold": 3600, "tiers": {"minor": {"erase": 2}}}"#)
        .unwrap();
    office.keyset("add @1.unsigned --policy @policy --out @1b.unsigned").unwrap();
    office.keyset("sign @1b.unsigned --key @root.jwk --out @1b.json").unwrap();
    office.keyset("rotate @1b.json --out @2.unsigned").unwrap();
    let set = |name: &str| KeySetFile::read(&office.path(name)).unwrap();
    assert_eq!(set("2.unsigned").payload["policy"]["hold"], 3600);
    let told = diff::diff(&set("1.json"), &set("1b.json")).unwrap();
    assert!(told.contains("~ policy  none → {"), "{told}");
    files::write_public(&office.path("wrong"), r#"{"quorum": 2}"#).unwrap();
    let error = office.keyset("add @1.unsigned --policy @wrong --out @x").unwrap_err();
    assert!(error.contains("KEY_SET_MALFORMED"), "{error}");
}

#[test]
fn a_root_key_may_sign_elsewhere() {
    let office = Office::with(&["root", "ann", "bob"]);
    office.first();
    office.keyset("rotate @1.json --out @2.unsigned").unwrap();
    office.keyset("sign @2.unsigned --public-key @root.pub --signing-input-out @to-sign").unwrap();
    let root = crate::cli::signing::load_key(&office.path("root.jwk")).unwrap();
    let signature = root.sign(&files::read(&office.path("to-sign")).unwrap()).unwrap();
    files::write_public(&office.path("signature"), signature).unwrap();
    office.keyset("sign @2.unsigned --public-key @root.pub --signature @signature --out @2.json").unwrap();
    assert_eq!(read(&office.path("2.json")).version(), 2);
}

#[test]
fn a_later_version_is_judged_as_a_gateway_would() {
    let office = Office::with(&["root", "ann", "bob", "cleo", "stranger"]);
    office.second("--key cleo=@cleo.pub --role export=1:cleo");
    office.keyset("rotate @2.json --days 30 --out @3.unsigned").unwrap();
    office.keyset("sign @3.unsigned --key @root.jwk --previous @2.json --out @3.json").unwrap();
    let whole = office.judged("3.json", &["2.json", "1.json"]);
    let pin = office.set("1.json").digest();
    assert!(whole.starts_with("good: both root thresholds") && whole.contains(&pin.to_string()), "{whole}");
    let half = office.judged("3.json", &["2.json"]);
    assert!(
        !half.contains("good:") && half.contains("NOT JUDGED: whether version 2 itself is good"),
        "{half}"
    );
    let alone = office.judged("3.json", &[]);
    assert!(!alone.contains("good") && alone.contains("NOT JUDGED: whether it follows version 2"), "{alone}");
    assert_eq!(office.judged("3.json", &["1.json"]), "KEY_SET_VERSION");
    office.keyset("rotate @3.json --out @4.unsigned").unwrap();
    office.keyset("sign @4.unsigned --key @root.jwk --previous @3.json --out @4.json").unwrap();
    assert!(office.judged("4.json", &["1.json", "3.json"]).contains("NOT JUDGED"), "version 2 was not given");
    assert!(office.judged("4.json", &["3.json", "1.json", "2.json"]).starts_with("good:"));

    // Ann's key under another name: no signature helps, so none is given.
    let slip = "--remove ann --key bob=@ann.pub --role preview=1:bob --role erase=1:bob";
    let error = office.keyset(&format!("rotate @2.json {slip} --out @x")).unwrap_err();
    assert!(error.contains("KEY_SET_MALFORMED"), "{error}");
    office.keyset(&format!("add @3.unsigned {slip} --out @slipped.unsigned")).unwrap();
    assert_eq!(office.judged("slipped.unsigned", &["2.json"]), "KEY_SET_MALFORMED");
    let sign = "sign @slipped.unsigned --key @root.jwk";
    let error = office.keyset(&format!("{sign} --previous @2.json --out @x")).unwrap_err();
    assert!(error.contains("KEY_SET_MALFORMED") && !office.path("x").exists(), "{error}");
    office.keyset(&format!("{sign} --out @slipped.json")).unwrap();
    assert_eq!(office.judged("slipped.json", &["2.json", "1.json"]), "KEY_SET_MALFORMED");
    let error = office.keyset("show @slipped.json --previous @2.json").unwrap_err();
    assert!(error.contains("KEY_SET_MALFORMED"), "{error}");

    // A key of neither set has signed, too.
    office.keyset("sign @3.json --key @stranger.jwk --out @spoilt.json").unwrap();
    assert!(office.judged("spoilt.json", &[]).contains("NOT JUDGED"));
    for before in [&["2.json"][..], &["1.json", "2.json"]] {
        assert_eq!(office.judged("spoilt.json", before), "KEY_SET_SIGNATURE");
    }
    let error = office.keyset("sign @3.json --key @stranger.jwk --previous @2.json --out @x").unwrap_err();
    assert!(error.contains("KEY_SET_SIGNATURE") && !office.path("x").exists(), "{error}");
}

#[test]
fn a_key_that_comes_back_for_another_signer_shows_in_the_whole_chain_alone() {
    let office = Office::with(&["root", "ann", "bob"]);
    office.second("--remove ann --role erase=1:bob");
    office.keyset("rotate @2.json --key cleo=@ann.pub --role export=1:cleo --out @3.unsigned").unwrap();
    office.keyset("sign @3.unsigned --key @root.jwk --previous @2.json --out @3.json").unwrap();
    assert!(
        office.judged("3.json", &["2.json"]).contains("whether a key had another signer or use before it")
    );
    for name in ["3.unsigned", "3.json"] {
        assert_eq!(office.judged(name, &["1.json", "2.json"]), "KEY_SET_MALFORMED", "{name}");
    }
}

#[test]
fn a_set_that_is_over_is_not_called_good() {
    let office = Office::with(&["root", "ann", "bob"]);
    office.first();
    let set = office.set("1.json");
    let end = set.seconds("exp").unwrap();
    assert!(verdict::verdict(&set, &[], end - 1).is_ok());
    let error = verdict::verdict(&set, &[], end).unwrap_err().to_string();
    assert!(error.contains("KEY_SET_EXPIRED"), "{error}");
}

#[test]
fn a_key_without_a_role_and_a_role_without_keys_are_told() {
    let office = Office::with(&["root", "ann", "bob", "root-2", "cleo"]);
    office.first();
    office
        .keyset("rotate @1.json --root board2=@root-2.pub --key cleo=@cleo.pub --remove ann --remove bob --out @2.unsigned")
        .unwrap();
    let told = diff::changes(&office.set("1.json"), &office.set("2.unsigned")).unwrap();
    for part in [
        "! root key of board2  ",
        "has no role and signs nothing: --role root=N:…",
        "! instruction key of cleo  ",
        "- role erase  2 of 2: ann, bob; NOBODY MAY SIGN IT ANY MORE",
        "- role preview  1 of 2: ann, bob; NOBODY MAY SIGN IT ANY MORE",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let shown = show::show(&office.set("2.unsigned"), None, 0).unwrap();
    assert_eq!(shown.matches("NO ROLE").count(), 2, "{shown}");
    office
        .keyset("add @2.unsigned --role root=2:board,board2 --role erase=1:cleo --out @2b.unsigned")
        .unwrap();
    assert_eq!(diff::idle(&office.set("2b.unsigned")).unwrap(), "");
}
