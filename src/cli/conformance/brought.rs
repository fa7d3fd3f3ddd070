//! What others signed and bring to an enterprise's client, to approve or to withdraw: what is good it signs, and what is
//! not it refuses. A client that would sign whatever it is shown is found out here.

use serde::Deserialize;

use super::client::{Fault, different};
use super::world::{Circumstances, World};
use crate::token::{Detached, Says};

/// What a client writes in the place of a signature.
const REFUSED: &str = "REFUSED";

/// One instruction, what the client is asked to say of it, and with which of the world's keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brought {
    pub name: String,
    pub what: String,
    pub file: String,
    says: Form,
    key: String,
    /// The instruction, disclosures and all.
    of: String,
    /// `OK`, or why it must be refused: a reason code, with what a client has to do to notice.
    expect: String,
    change: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Approval,
    Withdrawal,
}

impl Brought {
    pub fn judge(&self, text: &str, world: &World) -> Result<(), Fault> {
        match (self.expect.as_str(), text == REFUSED) {
            ("OK", true) => {
                Err(different("it is good, and was refused", "refuse only what is not whole or not proven"))
            }
            ("OK", false) => self.signed(text, world),
            (_, true) => Ok(()),
            (reason, false) => Err(Fault {
                code: "NOT_REFUSED",
                what: format!("the gateway says {reason}, and the client did not refuse"),
                change: self.change.clone().unwrap_or_default(),
            }),
        }
    }

    fn signed(&self, text: &str, world: &World) -> Result<(), Fault> {
        let under = Circumstances { of: Some(self.of.clone()), ..Circumstances::default() };
        let says = match self.says {
            Form::Approval => {
                world.approval(text, &under)?;
                Says::Approved
            }
            Form::Withdrawal => {
                world.withdrawal(text, &under)?;
                Says::Withdrawn
            }
        };
        let kid = Detached::parse(says, text)?.kid().to_string();
        match world.key_name(&kid) {
            Some(name) if name == self.key => Ok(()),
            _ => Err(different("another key has signed", "sign with the key given")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{Cases, tests::private_key};
    use super::super::{CLIENT, WORLD};
    use super::*;
    use crate::token::{Envelope, ToSign};

    /// As a client signs that asks nothing.
    fn signature(case: &Brought, typ: &'static str) -> String {
        let envelope = Envelope::read(case.of.as_bytes()).unwrap();
        let key = private_key(&case.key);
        let to_sign = ToSign::new(typ, envelope.payload_segment(), key.public().clone()).unwrap();
        let signature = key.sign(to_sign.bytes()).unwrap();
        let signature = to_sign.signed(&signature).unwrap();
        format!("{}..{}", signature.protected_segment(), signature.signature_segment())
    }

    #[test]
    fn who_signs_all_or_refuses_all_is_wrong_and_the_reasons_are_the_gateways() {
        let world = World::read(WORLD.as_bytes()).unwrap();
        let cases: Cases = serde_json::from_str(CLIENT).unwrap();
        let (mut good, mut bad) = (0, 0);
        for case in &cases.brought {
            let (says, other) = match case.says {
                Form::Approval => (Says::Approved, Says::Withdrawn),
                Form::Withdrawal => (Says::Withdrawn, Says::Approved),
            };
            let blindly = signature(case, says.typ());
            let fault = |text: &str| case.judge(text, &world).err().map(|fault| fault.code);
            let name = &case.name;
            if case.expect == "OK" {
                good += 1;
                assert_eq!(fault(&blindly), None, "{name}");
                assert_eq!(fault(REFUSED), Some("DIFFERENT"), "{name}");
                assert_eq!(fault(&signature(case, other.typ())), Some("HEADER_INVALID"), "{name}");
                assert!(
                    fault(&signature(&Brought { key: "rsa".into(), ..case.clone() }, says.typ())).is_some(),
                    "{name}"
                );
                continue;
            }
            bad += 1;
            assert_eq!((fault(&blindly), fault(REFUSED)), (Some("NOT_REFUSED"), None), "{name}");
            assert!(case.change.as_ref().is_some_and(|change| change.ends_with('.')), "{name}");
            let under = Circumstances { of: Some(case.of.clone()), ..Circumstances::default() };
            let reason = world.approval(&blindly, &under).err().map(|refusal| refusal.reason.code());
            assert_eq!(reason, Some(case.expect.as_str()), "{name}");
        }
        assert!(good >= 3 && bad >= 6, "{good} good, {bad} bad");
    }
}
