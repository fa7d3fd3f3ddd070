//! `mandate evidence`: the bundle that proves an instruction and what came of it, for `mandate-verify`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::print::print;
use super::{As, CliError, files};
use crate::grpc::v1;

#[derive(Debug, Args)]
pub struct Evidence {
    #[command(flatten)]
    who: As,
    /// instructions/<id>
    name: String,
    #[arg(long)]
    out: PathBuf,
    /// With the personal values, which only their controller can have
    #[arg(long)]
    disclosures: bool,
}

impl Evidence {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        let name = self.name.clone();
        let bundle = if client.profile.principal.starts_with("auditors/") {
            if self.disclosures {
                return Err(CliError::plain(
                    "an auditor is not shown personal values; leave --disclosures out",
                ));
            }
            client.audit().export_evidence(v1::ExportEvidenceRequest { name }).await?.into_inner().bundle
        } else {
            let call = v1::GetEvidenceRequest { name, include_disclosures: self.disclosures };
            client.instructions().get_evidence(call).await?.into_inner().bundle
        };
        files::write_secret(&self.out, &bundle)?;
        print(
            self.who.json,
            &json!({"instruction": self.name, "file": self.out.display().to_string(), "bytes": bundle.len()}),
        );
        Ok(())
    }
}
