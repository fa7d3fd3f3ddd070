//! How a signature comes about: with a private JWK at hand, by a command that reaches an HSM or a KMS, or in two
//! steps with a machine that has no network.
//!
//! A command gets the very bytes to sign on its stdin, and gives the bare signature on its stdout. Its stderr and
//! the terminal are the caller's, so that it may ask for a PIN. Nothing is taken that does not verify.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::{CliError, files, public_key};
use crate::domain::Refusal;
use crate::token::jws::JwsSignature;
use crate::token::{PrivateKey, PublicJwk, ToSign};

#[derive(Debug, Default, Args)]
pub struct Signing {
    /// Private JWK of a signer; repeat for several signers
    #[arg(long = "key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// Sign with this command: the bytes to sign on its stdin, the signature from its stdout
    #[arg(long, value_name = "CMD", requires = "public_key", conflicts_with = "keys")]
    pub external: Option<String>,
    /// Public key of who signs elsewhere: JWK or PEM
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// First of two steps: write the bytes to sign, and stop
    #[arg(long, value_name = "FILE", requires = "public_key", conflicts_with_all = ["keys", "external"])]
    pub signing_input_out: Option<PathBuf>,
    /// Second of two steps: the signature made elsewhere
    #[arg(long, value_name = "FILE", requires = "public_key", conflicts_with_all = ["keys", "external", "signing_input_out"])]
    pub signature: Option<PathBuf>,
}

/// What came of it.
pub enum Outcome {
    Signed(Vec<JwsSignature>),
    /// The bytes lie in their file; this is what they are over.
    Waits(Box<ToSign>),
}

/// What is to be signed, for a key.
type Form<'a> = &'a dyn Fn(PublicJwk) -> Result<ToSign, Refusal>;

impl Signing {
    pub fn run(&self, form: Form<'_>) -> Result<Outcome, CliError> {
        let Some(public_key) = &self.public_key else {
            return self.with_keys(form);
        };
        let to_sign = form(public_key::read(public_key)?)?;
        if let Some(path) = &self.signing_input_out {
            files::write_public(path, to_sign.bytes())?;
            return Ok(Outcome::Waits(Box::new(to_sign)));
        }
        let signature = match (&self.external, &self.signature) {
            (Some(command), _) => ask(command, &to_sign)?,
            (None, Some(path)) => files::read(path)?,
            (None, None) => {
                return Err(CliError::plain(
                    "--public-key goes with --external, --signing-input-out or --signature",
                ));
            }
        };
        Ok(Outcome::Signed(vec![to_sign.signed(&signature)?]))
    }

    fn with_keys(&self, form: Form<'_>) -> Result<Outcome, CliError> {
        if self.keys.is_empty() {
            return Err(CliError::plain("give --key, or --public-key and where its signature comes from"));
        }
        let mut signatures = Vec::with_capacity(self.keys.len());
        for path in &self.keys {
            let key = load_key(path)?;
            let to_sign = form(key.public().clone())?;
            let signature = key.sign(to_sign.bytes())?;
            signatures.push(to_sign.signed(&signature)?);
        }
        Ok(Outcome::Signed(signatures))
    }
}

pub fn load_key(path: &Path) -> Result<PrivateKey, CliError> {
    Ok(PrivateKey::from_jwk(&zeroize::Zeroizing::new(files::read(path)?))?)
}

/// Runs the command in a shell. It knows from its environment what it signs: `MANDATE_ALG` and `MANDATE_KID`.
fn ask(command: &str, to_sign: &ToSign) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| CliError::Plain(format!("--external: {error}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("MANDATE_ALG", to_sign.key().algorithm().header_name())
        .env("MANDATE_KID", to_sign.key().id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // At most 12 KiB: a pipe holds them, so the command may answer before it has read all.
        match stdin.write_all(to_sign.bytes()) {
            // It read no further; whether its signature is good shows below.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            other => other.map_err(failed)?,
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(CliError::Plain(format!("--external: the command failed ({})", output.status)));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemEntropy;
    use crate::token::KeyKind;

    fn made() -> (tempfile::TempDir, Signing, PrivateKey) {
        let dir = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy).unwrap();
        let path = dir.path().join("key.pub.jwk");
        files::write_public(&path, key.public().canonical()).unwrap();
        (dir, Signing { public_key: Some(path), ..Signing::default() }, key)
    }

    fn form(key: PublicJwk) -> Result<ToSign, Refusal> {
        ToSign::new("test+jwt", "cGF5bG9hZA", key)
    }

    #[test]
    fn a_command_gets_the_bytes_and_gives_the_signature() {
        let (dir, signing, key) = made();
        let expected = form(key.public().clone()).unwrap();
        let signature = dir.path().join("signature");
        files::write_public(&signature, key.sign(expected.bytes()).unwrap()).unwrap();
        let seen = dir.path().join("seen");
        let command = format!(
            "cat > '{}' && test \"$MANDATE_ALG\" = EdDSA && cat '{}'",
            seen.display(),
            signature.display()
        );
        let signing = Signing { external: Some(command), ..signing };
        let Outcome::Signed(signatures) = signing.run(&form).unwrap() else { panic!("it waits") };
        assert_eq!(signatures[0].kid, key.id());
        assert_eq!(files::read(&seen).unwrap(), expected.bytes());
    }

    #[test]
    fn a_command_that_fails_or_signs_something_else_is_refused() {
        let (_dir, signing, key) = made();
        for (command, said) in [
            ("exit 3", "the command failed"),
            ("head -c 64 /dev/zero", "SIGNATURE_INVALID"),
            ("true", "SIGNATURE_INVALID"),
        ] {
            let public_key = signing.public_key.clone();
            let signing = Signing { external: Some(command.into()), public_key, ..Signing::default() };
            let Err(error) = signing.run(&form) else { panic!("{command} was taken") };
            assert!(error.to_string().contains(said), "{error}");
        }
        drop(key);
    }

    #[test]
    fn two_steps_with_a_machine_elsewhere() {
        let (dir, signing, key) = made();
        let (input, signature) = (dir.path().join("to-sign"), dir.path().join("signature"));
        let first = Signing {
            signing_input_out: Some(input.clone()),
            public_key: signing.public_key.clone(),
            ..Signing::default()
        };
        assert!(matches!(first.run(&form).unwrap(), Outcome::Waits(_)));
        files::write_public(&signature, key.sign(&files::read(&input).unwrap()).unwrap()).unwrap();
        let second = Signing { signature: Some(signature), ..signing };
        assert!(matches!(second.run(&form).unwrap(), Outcome::Signed(_)));
    }
}
