//! What an instruction orders, spelled out for who is asked to sign it.
//!
//! The payload holds only digests of the persons, so nobody sees from it whom it is about: that stands in the
//! disclosures beside it, which somebody may have swapped. They are held against the payload by the gateway's own
//! rules before a word is shown; what is shown is what the signature is over.
//!
//! It names persons: for the signer's terminal, never for a log of ours.

use std::fmt::{Display, Write};
use std::path::Path;

use super::{CliError, files};
use crate::domain::{Identifier, Timestamp};
use crate::say;
use crate::token::{Categories, InstructionDraft, OpenInstruction, Private};

/// Reads an instruction that is open for signatures; refused as the gateway would refuse it.
pub fn read(path: &Path) -> Result<OpenInstruction, CliError> {
    Ok(OpenInstruction::read(files::read(path)?.trim_ascii())?)
}

/// The same for who is about to sign it: what it orders goes to stderr first.
pub fn read_aloud(path: &Path) -> Result<OpenInstruction, CliError> {
    let open = read(path)?;
    say::err(format_args!("{}", of(&open)));
    Ok(open)
}

/// One line for each thing that it says.
pub fn of(open: &OpenInstruction) -> String {
    let mut out = Lines(String::new());
    let order = open.order();
    out.line("orders", order.act);
    out.line("of", order.iss.resource_name());
    out.line("app", order.app.resource_name());
    persons(&mut out, order);
    out.some("takes back", order.target.map(|target| target.resource_name()));
    out.some("answers", order.req.map(|req| req.resource_name()));
    reach(&mut out, order);
    out.line("basis", order.basis);
    special(&mut out, order);
    match &order.preview {
        Some(seen) => {
            out.line("seen", format_args!("the preview {} as of {}", seen.digest, time(seen.as_of)))
        }
        None if order.act.may_follow_a_preview() => out.line("seen", "no preview is named"),
        None => {}
    }
    let begins = order.nbf.map(|nbf| format!("from {} ", time(nbf))).unwrap_or_default();
    out.line("ends", format_args!("{begins}until {}, made {}", time(order.exp), time(order.iat)));
    out.line("key set", format_args!("version {}, digest {}", order.key_set.version, order.key_set.digest));
    // Any text may stand there.
    out.line("for", format_args!("{:?}", order.aud));
    out.line("name", order.jti.resource_name());
    out.line("digest", open.digest());
    for kid in open.kids() {
        out.line("signature", format_args!("by {kid}; the gateway verifies it"));
    }
    out.0
}

struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, what: impl Display) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "{name:<12}{what}");
    }

    fn some(&mut self, name: &str, what: Option<impl Display>) {
        if let Some(what) = what {
            self.line(name, what);
        }
    }
}

/// In quotes and with what is not to be seen escaped: no value can look like another line, or turn the writing round.
fn persons(out: &mut Lines, order: &InstructionDraft) {
    for identifier in &order.subject {
        let what = match identifier {
            Identifier::IssSub { .. } => "user",
            Identifier::Email { .. } => "e-mail",
            Identifier::PhoneNumber { .. } => "phone",
            Identifier::Opaque { .. } => "device",
        };
        out.line(what, format_args!("{:?}", identifier.value()));
    }
    match &order.private {
        Private::None => {}
        Private::Reply { text, to } => {
            out.line("to", format_args!("{to:?}"));
            out.line("text", format_args!("{text:?}"));
        }
        Private::Rectify { set } => {
            for (field, value) in set {
                out.line("becomes", format_args!("{field:?} {:?}", value.to_string()));
            }
        }
        Private::Export { account } => out.line("account", format_args!("{account:?}, of a third party")),
    }
}

fn reach(out: &mut Lines, order: &InstructionDraft) {
    const ALL: &str = "all of the agreement";
    match &order.categories {
        Categories::All => out.line("categories", ALL),
        Categories::Some(list) => out.line("categories", words(list)),
    }
    match &order.stores {
        None => out.line("stores", ALL),
        Some(list) => out.line("stores", words(list)),
    }
    let window =
        order.window.map(|window| format!("from {} until {}", time(window.from), time(window.until)));
    out.some("stored", window);
}

/// What belongs to single acts.
fn special(out: &mut Lines, order: &InstructionDraft) {
    if let Some(export) = &order.export {
        out.line("recipient", export.recipient.as_str());
        out.line("into", format_args!("{}, as {}", export.region, export.format.as_str()));
        out.some("evidence", export.evidence);
    } else if !order.act.has_subject() && order.act.is_for_agents() {
        out.line("returns", "NOTHING: all is erased");
    }
    if let Some(refuse) = &order.refuse {
        let (whose, code) = (refuse.whose.as_str(), refuse.reason_code.as_str());
        out.line("ground", format_args!("{}, {whose}, {code}", refuse.ground));
    }
    if let Some(reply) = &order.authorize_reply {
        let templates: Vec<&str> = reply.templates.iter().map(|template| template.as_str()).collect();
        out.line("templates", format_args!("{} until {}", templates.join(", "), time(reply.until)));
    }
}

fn words<T: Display>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Act, Region, Timestamp};
    use crate::token::fixtures::{CountedEntropy, NOW, draft, ending, export_order};
    use crate::token::{PreviewRef, Window, base64url};

    fn text(draft: &InstructionDraft) -> String {
        of(&OpenInstruction::of_draft(draft, &CountedEntropy::new()).unwrap())
    }

    #[test]
    fn all_that_an_order_says_is_told() {
        let seen = PreviewRef { digest: crate::token::Digest::of("x"), as_of: NOW };
        let order = InstructionDraft {
            stores: Some(vec!["rtc".parse().unwrap()]),
            window: Some(Window { from: NOW - 86_400, until: NOW }),
            preview: Some(seen),
            ..draft(Act::Erase)
        };
        let (told, at) = (text(&order), Timestamp::from_second(NOW).unwrap());
        for line in [
            "orders      erase".to_owned(),
            "of          controllers/xingyu".to_owned(),
            "app         apps/xingyu-live".to_owned(),
            "user        \"u_8839201\"".to_owned(),
            "device      \"device-7f31c2\"".to_owned(),
            "categories  device, network".to_owned(),
            "stores      rtc".to_owned(),
            format!("stored      from {} until {at}", time(NOW - 86_400)),
            "basis       pipl-47".to_owned(),
            format!("seen        the preview {} as of {at}", seen.digest),
            format!("ends        until {}, made {at}", time(order.exp)),
            format!("key set     version 1, digest {}", order.key_set.digest),
        ] {
            assert!(told.contains(&format!("{line}\n")), "{line} is not in\n{told}");
        }
        let told = text(&draft(Act::Erase));
        assert!(
            told.contains("no preview is named") && told.contains("stores      all of the agreement"),
            "{told}"
        );
    }

    #[test]
    fn what_belongs_to_single_acts_is_told() {
        let target = Some(draft(Act::Erase).jti);
        let revoke = InstructionDraft { target, subject: Vec::new(), ..draft(Act::Revoke) };
        assert!(text(&revoke).contains("takes back  instructions/01938a5e-"));
        let private = Private::Export { account: "acc-1".into() };
        let evidence = Some(crate::token::Digest::of("record"));
        let export = Some(crate::token::ExportOrder { region: Region::Sg, evidence, ..export_order() });
        let told = text(&InstructionDraft { private, export, ..draft(Act::Export) });
        for part in
            ["account     \"acc-1\", of a third party", "recipient   age1", "into        sg", "evidence    "]
        {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        let private = Private::Reply { text: "Done.\nSigned".into(), to: "a@b.example".into() };
        let told = text(&InstructionDraft { private, ..draft(Act::Reply) });
        assert!(
            told.contains("text        \"Done.\\nSigned\"") && told.contains("to          \"a@b.example\""),
            "{told}"
        );
        assert!(text(&InstructionDraft { export: None, ..ending(None) }).contains("returns     NOTHING"));
    }

    #[test]
    fn no_value_can_look_like_another() {
        // Written from right to left, and a space that has no width.
        let app = draft(Act::Erase).app;
        let user = Identifier::user(&app, "u_\u{202e}1020_u\u{200b}\" \\ ");
        let told = text(&InstructionDraft { subject: vec![user], ..draft(Act::Erase) });
        assert!(told.contains(r#"user        "u_\u{202e}1020_u\u{200b}\" \\ ""#), "{told}");
    }

    #[test]
    fn a_file_whose_disclosures_were_swapped_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = OpenInstruction::of_draft(&draft(Act::Erase), &CountedEntropy::new()).unwrap();
        let key = crate::token::fixtures::key("ann");
        let good = open.unsigned_text(&open.to_sign(key.public().clone()).unwrap());
        let disclosure = good.split('~').nth(1).unwrap();
        let json = String::from_utf8(base64url::decode(disclosure).unwrap()).unwrap();
        let other = base64url::encode(json.replace("u_8839201", "u_harmless"));
        for (name, text, said) in [
            ("good", good.clone(), None),
            ("swapped", good.replace(disclosure, &other), Some("DISCLOSURE_ALIEN")),
            ("withheld", good.replace(&format!("{disclosure}~"), ""), Some("DISCLOSURE_MISSING")),
        ] {
            let path = folder.path().join(name);
            files::write_secret(&path, text).unwrap();
            let error = read(&path).err().map(|error| error.to_string());
            match (&error, said) {
                (None, None) => {}
                (Some(error), Some(said)) if error.contains(said) && !error.contains("u_harmless") => {}
                _ => panic!("{name}: {error:?}"),
            }
        }
    }
}
