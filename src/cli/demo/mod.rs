//! `mandate demo`: the main job, on real input, with real processes, step by step.

mod attacks;
mod enterprise;
mod processes;
mod tables;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;

use super::client::{Client, Profile};
use super::sample_rows::APPS;
use super::{CliError, files, init, sample_store};
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::domain::{Act, Identifier, RequestId};
use crate::grpc::v1;
use crate::say;
pub use enterprise::{Enterprise, reason_of};
use processes::Process;

/// The mails, as they came in.
const MAILS: [(&str, &[u8]); 7] = [
    ("01", include_bytes!("../../../examples/mail/01-delete-enterprise-app.eml")),
    ("02", include_bytes!("../../../examples/mail/02-vague-english.eml")),
    ("03", include_bytes!("../../../examples/mail/03-guardian-minor.eml")),
    ("04", include_bytes!("../../../examples/mail/04-ppio-own-customer.eml")),
    ("06", include_bytes!("../../../examples/mail/06-forwarded-by-support.eml")),
    ("08", include_bytes!("../../../examples/mail/08-gb18030-subject.eml")),
    ("12", include_bytes!("../../../examples/mail/12-non-request-spam.eml")),
];
/// Whom mail 01 is about. Two enterprises have a user of that id.
const USER: &str = "u_8839201";
const DEVICE: &str = "device-7f31c2";
/// Whom mail 06 is about.
const LISTENER: &str = "letingfm-660318";

#[derive(Debug, Args)]
pub struct Demo {
    /// End when done, instead of leaving everything up
    #[arg(long)]
    once: bool,
    /// Folder to make; must not exist or be empty
    #[arg(long, default_value = "demo")]
    dir: PathBuf,
    /// Port of the gateway on loopback; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
}

impl Demo {
    pub async fn run(self) -> Result<(), CliError> {
        self.clear_earlier()?;
        let stage = Stage::set(&self.dir, self.port).await?;
        let done = stage.play().await;
        match done {
            Ok(()) if !self.once && std::io::stdin().is_terminal() => stage.stay().await,
            Ok(()) => stage.strike().await,
            Err(error) => {
                let _ = stage.strike().await;
                Err(error)
            }
        }
    }

    /// A folder that an earlier demo made may go; any other is left alone.
    fn clear_earlier(&self) -> Result<(), CliError> {
        let is_used = self.dir.exists()
            && std::fs::read_dir(&self.dir).map_err(CliError::file(&self.dir))?.next().is_some();
        if !is_used {
            return Ok(());
        }
        if !self.dir.join(MARK).is_file() {
            return Err(CliError::Plain(format!(
                "{} is not empty and not an earlier demo's: name another with --dir",
                self.dir.display()
            )));
        }
        std::fs::remove_dir_all(&self.dir).map_err(CliError::file(&self.dir))
    }
}

/// Marks a folder as the demo's own.
const MARK: &str = ".mandate-demo";

fn title(step: u32, text: &str) {
    say!("\n── {step}. {text}");
}

struct Stage {
    dir: PathBuf,
    gateway: Process,
    agent: Process,
    support: Client,
    xingyu: Enterprise,
    leting: Enterprise,
}

impl Stage {
    /// Makes the folder and starts the processes.
    async fn set(dir: &Path, port: u16) -> Result<Self, CliError> {
        title(1, "Set-up: keys, certificates, a gateway, an agent beside the data");
        let port = if port == 0 { free_port()? } else { port };
        init::set_up(dir, port, 1, &SystemClock, &SystemEntropy).await?;
        std::fs::write(dir.join(MARK), b"").map_err(CliError::file(dir))?;
        let gateway =
            Process::start("gateway", "serve", &dir.join("gateway.toml"), dir.join("gateway.log")).await?;
        say!("   gateway   pid {} on 127.0.0.1:{port}, TLS 1.3 with client certificates", gateway.pid());
        let operator = Client::open(Profile::load(&dir.join("profiles/operator.toml"))?).await?;
        let registered = super::registry::apply(&operator, &dir.join("registry.toml")).await?;
        say!("   registry  {registered} entries: controllers, agreements, apps, keys, one agent");
        let agent = Process::start("agent", "agent", &dir.join("agent.toml"), dir.join("agent.log")).await?;
        say!("   agent     pid {}, the only holder of the stores' credentials", agent.pid());
        let rows = tables::total(
            &sample_store::count_rows(&dir.join("store/rtc.sqlite")).await.map_err(CliError::plain)?,
        );
        say!("   stores    {rows} rows of {} enterprises in one multi-tenant database", APPS.len());
        Ok(Self {
            support: Client::open(Profile::load(&dir.join("profiles/support.toml"))?).await?,
            xingyu: Enterprise::open(&dir.join("profiles/xingyu.toml")).await?,
            leting: Enterprise::open(&dir.join("profiles/leting.toml")).await?,
            dir: dir.to_owned(),
            gateway,
            agent,
        })
    }

    async fn play(&self) -> Result<(), CliError> {
        self.take_mails_in().await?;
        let (erased, wire) = self.erase().await?;
        let exported = self.export().await?;
        self.attack(&wire).await?;
        self.verify(&[&erased, &exported]).await
    }

    async fn take_mails_in(&self) -> Result<(), CliError> {
        title(2, "Mails of end users come in, each to the one right controller");
        for (name, mail) in MAILS {
            let message = self.submit(mail).await?;
            let candidate = message.candidate.clone().unwrap_or_default();
            let subject = if candidate.inner_subject.is_empty() {
                &candidate.subject
            } else {
                &candidate.inner_subject
            };
            say!("   mail {name}  {subject}");
            let rights: Vec<&str> = candidate.rights.iter().map(|r| r.right.as_str()).collect();
            if !rights.is_empty() {
                say!("            asks: {}", rights.join(", "));
            }
            if message.controller.is_empty() {
                say!("            → waits for support: {}", message.triage_reason);
            } else {
                let why =
                    candidate.evidence.iter().find(|e| e.exact).map(tables::evidence).unwrap_or_default();
                say!("            → {} ({}), for {why}", message.controller, message.app);
            }
        }
        Ok(())
    }

    async fn submit(&self, mail: &[u8]) -> Result<v1::Message, CliError> {
        let request = v1::SubmitMailRequest {
            request_id: super::client::request_id("SubmitMail", mail),
            mail: mail.to_vec().into(),
            received_time: None,
        };
        let answer = self.support.intake().submit_mail(request).await?.into_inner();
        answer.message.ok_or_else(|| CliError::plain("no message in the answer"))
    }

    /// Mail 01 to its end. The instruction's name and its bytes.
    async fn erase(&self) -> Result<(String, String), CliError> {
        title(3, "星语直播's enterprise takes its request, previews, signs, and the agent erases");
        let store = self.dir.join("store/rtc.sqlite");
        let requests = self.xingyu.take_requests().await?;
        let request = requests.first().ok_or_else(|| CliError::plain("no request reached xingyu"))?;
        say!("   received  {} of {} waiting, acknowledged", request.name, requests.len());
        let req = RequestId::from_resource_name(&request.name).map_err(CliError::plain)?;
        let subject =
            vec![Identifier::user(&self.xingyu.app, USER), Identifier::Opaque { id: DEVICE.into() }];

        let preview = self.xingyu.order(Act::Preview, subject.clone(), Some(req))?;
        let (_, seen, _) = self.xingyu.carry_out(&preview).await?;
        for execution in &seen {
            expect_state(execution, v1::ExecutionState::Completed)?;
            say!("   preview   {} says, at most:", execution.store);
            let counts = execution.preview.as_ref().map(|p| p.counts.as_slice()).unwrap_or_default();
            tables::outcomes(counts);
        }

        let before = sample_store::survey(&store).await.map_err(CliError::plain)?;
        let order = self.xingyu.order(Act::Erase, subject, Some(req))?;
        let (answer, executions, wire) = self.xingyu.carry_out(&order).await?;
        let name = answer.instruction.map(|i| i.name).unwrap_or_default();
        say!("   signed    {name}, by {} under key set {}", self.xingyu.id, self.xingyu.key_set.version);
        for execution in &executions {
            expect_state(execution, v1::ExecutionState::Completed)?;
            say!("   reported  by the agent, signed, for {}:", execution.store);
            tables::outcomes(&execution.collections);
        }
        let after = sample_store::survey(&store).await.map_err(CliError::plain)?;
        say!("   rows before → after, for each table and enterprise:");
        tables::before_and_after(&before, &after);
        let own = APPS.iter().find(|app| app.controller == self.xingyu.id.as_str()).map(|app| app.tenant);
        let touched = tables::touched_tenants(&before, &after);
        if touched.iter().any(|tenant| Some(tenant.as_str()) != own) {
            return Err(CliError::plain("another enterprise's rows were touched"));
        }
        say!("   others    untouched, row for row: {USER} of another enterprise is still there");
        let receipt = answer.receipt.ok_or_else(|| CliError::plain("no receipt"))?;
        say!("   receipt   leaf {} of the trail, proven to a signed checkpoint:", receipt.index);
        for line in
            receipt.proof.lines().rev().take_while(|l| !l.is_empty()).collect::<Vec<_>>().into_iter().rev()
        {
            say!("             {line}");
        }
        Ok((name, wire))
    }

    /// Mail 06: what PPIO has about the listener, for its enterprise alone.
    async fn export(&self) -> Result<String, CliError> {
        title(4, "乐听FM's enterprise orders an export: encrypted beside the data, for its key alone");
        let requests = self.leting.take_requests().await?;
        let request = requests.first().ok_or_else(|| CliError::plain("no request reached leting"))?;
        let req = RequestId::from_resource_name(&request.name).map_err(CliError::plain)?;
        let order =
            self.leting.order(Act::Export, vec![Identifier::user(&self.leting.app, LISTENER)], Some(req))?;
        let (answer, executions, _) = self.leting.carry_out(&order).await?;
        for execution in &executions {
            expect_state(execution, v1::ExecutionState::Completed)?;
            let out = self.dir.join("export.tar");
            let size = super::export::fetch(&self.leting.client, &execution.export, &out).await?;
            say!(
                "   fetched   {}, {size} bytes, decrypted with the enterprise's own identity:",
                execution.export
            );
            tables::archive(&out)?;
        }
        Ok(answer.instruction.map(|i| i.name).unwrap_or_default())
    }

    async fn attack(&self, done: &str) -> Result<(), CliError> {
        title(5, "Seven attacks, tried live");
        let mut refusals = attacks::on_instructions(&self.leting, &self.xingyu, USER, done).await?;
        let before = self.count_instructions().await?;
        let message = self.submit(&attacks::instructing_mail(done)).await?;
        if self.count_instructions().await? != before
            || !message.flags.iter().any(|f| f == "claims_to_instruct")
        {
            return Err(CliError::plain("a mail was taken for an instruction"));
        }
        refusals.push(attacks::Refused {
            tried: "a mail \"instructs\"",
            reason: "a request like any other, flagged claims_to_instruct".into(),
        });
        for refusal in &refusals {
            say!("   refused   {:<52} {}", refusal.tried, refusal.reason);
        }
        Ok(())
    }

    async fn count_instructions(&self) -> Result<usize, CliError> {
        let request = v1::ListInstructionsRequest { page_size: 100, ..Default::default() };
        Ok(self
            .xingyu
            .client
            .instructions()
            .list_instructions(request)
            .await?
            .into_inner()
            .instructions
            .len())
    }

    async fn verify(&self, instructions: &[&str]) -> Result<(), CliError> {
        title(6, "An independent program verifies it all, offline");
        let auditor = Client::open(Profile::load(&self.dir.join("profiles/auditor.toml"))?).await?;
        super::trail::export_to(&auditor, &self.dir).await?;
        let evidence = self.dir.join("evidence");
        files::make_folder(&evidence)?;
        let verifier = verifier_program()?;
        let pins = self.dir.join("pins.toml");
        run(&verifier, &["trail".as_ref(), self.dir.as_os_str(), "--pin".as_ref(), pins.as_os_str()])?;
        for name in instructions {
            let request = v1::ExportEvidenceRequest { name: (*name).to_owned() };
            let bundle = auditor.audit().export_evidence(request).await?.into_inner().bundle;
            let file = evidence.join(format!("{}.json", name.trim_start_matches("instructions/")));
            std::fs::write(&file, &bundle).map_err(CliError::file(&file))?;
            run(&verifier, &["evidence".as_ref(), file.as_os_str(), "--pin".as_ref(), pins.as_os_str()])?;
        }
        Ok(())
    }

    async fn stay(self) -> Result<(), CliError> {
        let dir = self.dir.display();
        say!("\nEverything is up. In another terminal, try:");
        say!("  target/debug/mandate intake list --profile {dir}/profiles/support.toml");
        say!("  target/debug/mandate request list --profile {dir}/profiles/xiaolu.toml");
        say!("  target/debug/mandate-verify trail {dir} --pin {dir}/pins.toml");
        say!("Ctrl-C ends it.");
        super::serve::stop_signal()?.await;
        self.strike().await
    }

    async fn strike(self) -> Result<(), CliError> {
        self.agent.stop().await?;
        self.gateway.stop().await?;
        say!(
            "\nDone. What it left is in {}: trail/, authority/, evidence/, pins.toml, profiles/, keys/.",
            self.dir.display()
        );
        Ok(())
    }
}

fn expect_state(execution: &v1::Execution, state: v1::ExecutionState) -> Result<(), CliError> {
    if execution.state() == state {
        return Ok(());
    }
    Err(CliError::Plain(format!("{} ended as {:?} {}", execution.name, execution.state(), execution.reason)))
}

fn free_port() -> Result<u16, CliError> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(CliError::plain)?;
    Ok(listener.local_addr().map_err(CliError::plain)?.port())
}

/// `mandate-verify` lies beside this program.
fn verifier_program() -> Result<PathBuf, CliError> {
    let program = std::env::current_exe().map_err(CliError::plain)?.with_file_name("mandate-verify");
    if program.is_file() { Ok(program) } else { Err(CliError::plain("mandate-verify is not beside mandate")) }
}

fn run(program: &Path, arguments: &[&std::ffi::OsStr]) -> Result<(), CliError> {
    let output = std::process::Command::new(program).args(arguments).output().map_err(CliError::plain)?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        say!("   {line}");
    }
    if output.status.success() {
        return Ok(());
    }
    Err(CliError::Plain(format!("mandate-verify: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
