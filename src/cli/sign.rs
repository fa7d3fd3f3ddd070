//! `mandate sign`: makes a signed instruction, without any connection.
//!
//! The key may lie in a file, or where it never leaves (`--external`, or in two steps); a further signer adds to
//! what another signed (`--onto`), after it was held against the gateway's rules and spelled out on stderr. Personal
//! values are salted and disclosed beside the signature (RFC 9901), so that what is kept for ever holds their digests
//! alone.

use std::path::{Path, PathBuf};

use clap::Args;

use super::client::{ControllerFiles, Profile};
use super::order::Order;
use super::signing::{Outcome, Signing};
use super::{CliError, files, order_text};
use crate::authority::Pins;
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::say;
use crate::token::OpenInstruction;

#[derive(Debug, Args)]
pub struct Sign {
    /// Take key, key set and export recipient from a controller's profile
    #[arg(long)]
    profile: Option<PathBuf>,
    #[command(flatten)]
    signing: Signing,
    /// Add a signature to this instruction, which others have signed or nobody yet; what it orders is told first
    #[arg(long, value_name = "FILE", conflicts_with_all = ["act", "json_file", "key_set"])]
    onto: Option<PathBuf>,
    /// Sign nothing: hold this instruction against the gateway's rules and tell what it orders, persons and all
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "onto", "act", "json_file", "key_set", "out", "keys", "external", "public_key", "signing_input_out", "signature",
    ])]
    show: Option<PathBuf>,
    /// The signed key set in force
    #[arg(long)]
    key_set: Option<PathBuf>,
    /// Read the order from a JSON file with the members of these flags instead
    #[arg(long, conflicts_with = "act")]
    json_file: Option<PathBuf>,
    #[command(flatten)]
    order: Order,
    /// Where to write it; stdout if absent
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Sign {
    pub fn run(mut self) -> Result<(), CliError> {
        if let Some(path) = &self.show {
            say::out(format_args!("{}", order_text::of(&order_text::read(path)?)));
            return Ok(());
        }
        if self.signing.signing_input_out.is_some() && self.onto.is_some() && self.out.is_some() {
            return Err(CliError::plain(
                "leave out --out: what is signed lies in the file of --onto, also for the second step",
            ));
        }
        if self.signing.signature.is_some() && self.onto.is_none() {
            return Err(CliError::plain(
                "--signature goes with --onto FILE, what the first step wrote to --out",
            ));
        }
        let profile = self.profile.as_deref().map(Profile::load).transpose()?;
        let origin = profile.as_ref().map(|profile| pinned_origin(&profile.pins)).transpose()?;
        let controller = profile.and_then(|profile| profile.controller);
        if let Some(controller) = &controller
            && self.signing.keys.is_empty()
            && self.signing.public_key.is_none()
        {
            self.signing.keys.push(controller.instruction_key.clone());
        }
        let mut open = match &self.onto {
            Some(path) => order_text::read_aloud(path)?,
            None => self.order(controller.as_ref(), origin)?,
        };
        let (text, digest) = match self.signing.run(&|key| open.to_sign(key))? {
            Outcome::Waits(to_sign) => {
                if self.onto.is_none() {
                    let out = self.out.as_deref();
                    let out = out.ok_or_else(|| CliError::plain("--out is needed: it keeps the salts"))?;
                    files::write_secret(out, open.unsigned_text(&to_sign))?;
                }
                say!("sign these bytes elsewhere, then: mandate sign --onto … --public-key … --signature …");
                return Ok(());
            }
            Outcome::Signed(signatures) => {
                for signature in signatures {
                    open.add(signature)?;
                }
                let signed = open.finish()?;
                (signed.to_wire(), signed.digest())
            }
        };
        match &self.out {
            Some(path) => {
                files::write_secret(path, text)?;
                say!("digest  {digest}");
            }
            None => say::out(format_args!("{text}")),
        }
        Ok(())
    }

    /// The order of the flags or the file, sealed.
    fn order(
        &self,
        controller: Option<&ControllerFiles>,
        origin: Option<String>,
    ) -> Result<OpenInstruction, CliError> {
        let mut order = match &self.json_file {
            None => self.order.clone(),
            Some(path) => serde_json::from_slice(&files::read(path)?).map_err(|error| {
                CliError::Plain(format!("{}: no order, see line {}", path.display(), error.line()))
            })?,
        };
        order.aud = order.aud.or(origin);
        if let Some(controller) = controller
            && matches!(order.act.as_deref(), Some("export" | "return_and_erase"))
            && order.recipient.is_none()
            && !order.erase_only
        {
            let identity = super::export::identity(&controller.export_identity)?;
            order.recipient = Some(identity.to_public().to_string());
        }
        let key_set = self.key_set.as_ref().or(controller.map(|controller| &controller.key_set));
        let key_set = key_set.ok_or_else(|| CliError::plain("give --key-set or --profile"))?;
        let draft = order.draft(&files::read(key_set)?, &SystemClock, &SystemEntropy)?;
        Ok(OpenInstruction::of_draft(&draft, &SystemEntropy)?)
    }
}

/// Where the trail goes on that the instruction is for.
fn pinned_origin(pins: &Path) -> Result<String, CliError> {
    let pinned = Pins::parse(&files::read_text(pins)?);
    Ok(pinned.map_err(|error| CliError::Plain(format!("{}: {error}", pins.display())))?.trail.origin)
}
