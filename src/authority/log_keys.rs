//! What the authority log says of the keys that sign both logs: which one followed on which.

use super::rules::{Broken, Rule};
use crate::domain::event::{Event, LogKeyRetired, LogKeyVouched};
use crate::trail::{Succession, VerifierKey};

/// Every succession and retirement so far, in order.
#[derive(Debug, Default)]
pub(super) struct LogKeys {
    successions: Vec<Succession>,
    retired: Vec<VerifierKey>,
    told: Vec<Event>,
}

impl LogKeys {
    /// Takes the next leaf about a key; `origins` are those of the two logs.
    pub(super) fn take(&mut self, subject: &str, event: &Event, origins: &[&str]) -> Result<(), Broken> {
        match event {
            Event::LogKeyVouched(vouched) => self.vouch(subject, vouched, origins)?,
            Event::LogKeyRetired(retired) => self.retire(subject, retired)?,
            _ => return Ok(()),
        }
        self.told.push(event.clone());
        Ok(())
    }

    fn vouch(&mut self, subject: &str, event: &LogKeyVouched, origins: &[&str]) -> Result<(), Broken> {
        let succession = Succession::read(&event.succession)
            .map_err(|error| Rule::LogKeys.broken(format!("the succession: {error}")))?;
        let ours = succession.origin == subject && origins.contains(&subject);
        Rule::LogKeys.holds(ours, "the key is not of the log that the leaf names")?;
        let follows = self.of(subject).next().is_none()
            || self.of(subject).any(|one| [&one.former, &one.next].contains(&&succession.former));
        Rule::LogKeys.holds(follows, "the key that vouches is none that this log had")?;
        let is_new = !self.of(subject).any(|one| [&one.former, &one.next].contains(&&succession.next));
        Rule::LogKeys.holds(is_new, "the key was this log's before")?;
        Rule::LogKeys.holds(!self.retired.contains(&succession.former), "the key that vouches is retired")?;
        self.successions.push(succession);
        Ok(())
    }

    fn retire(&mut self, subject: &str, event: &LogKeyRetired) -> Result<(), Broken> {
        let key = VerifierKey::parse(&event.vkey).ok().filter(|key| self.all(subject).any(|had| had == key));
        let key = key.ok_or_else(|| Rule::LogKeys.broken("a key is retired that this log never had"))?;
        Rule::LogKeys.holds(!self.retired.contains(&key), "the key is retired again")?;
        self.retired.push(key);
        let left = self.all(subject).any(|key| !self.retired.contains(key));
        Rule::LogKeys.holds(left, "no key is left that signs this log")
    }

    /// Every key that the log is known to have had, or was to have.
    fn all(&self, origin: &str) -> impl Iterator<Item = &VerifierKey> {
        self.of(origin).flat_map(|one| [&one.former, &one.next])
    }

    fn of(&self, origin: &str) -> impl Iterator<Item = &Succession> {
        self.successions.iter().filter(move |one| one.origin == origin)
    }

    /// Whether the log holds this very leaf's event.
    pub(super) fn tell(&self, event: &Event) -> bool {
        self.told.contains(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::SigningKey;

    const ORIGINS: [&str; 2] = ["g.example/trail", "g.example/authority"];

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(ORIGINS[0], &[seed; 32]).unwrap()
    }

    fn vouched(former: u8, next: u8) -> Event {
        let succession = Succession::sign(&key(former), &key(next)).unwrap().to_string();
        LogKeyVouched { by: "operators/local".into(), succession }.into()
    }

    fn retired(seed: u8) -> Event {
        LogKeyRetired { by: "operators/local".into(), vkey: key(seed).verifier_key().to_string() }.into()
    }

    fn take(events: &[Event]) -> Result<LogKeys, Broken> {
        let mut keys = LogKeys::default();
        events.iter().try_for_each(|event| keys.take(ORIGINS[0], event, &ORIGINS))?;
        Ok(keys)
    }

    #[test]
    fn keys_follow_one_on_another() {
        let keys = take(&[vouched(1, 2), retired(1), vouched(2, 3), retired(2)]).unwrap();
        assert!(keys.tell(&retired(2)) && !keys.tell(&retired(3)));
        // One that was lost before it was used is passed over, and retired with the former.
        assert!(take(&[vouched(1, 2), vouched(1, 3), retired(1), retired(2)]).is_ok());
        assert!(take(&[vouched(1, 2), retired(2), vouched(1, 3), retired(1)]).is_ok());
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        for bad in [
            vec![retired(1)],
            vec![vouched(1, 2), retired(3)],
            vec![vouched(1, 2), retired(1), retired(2)],
            vec![vouched(1, 2), vouched(1, 3), retired(1), retired(2), retired(3)],
            vec![vouched(1, 2), retired(1), retired(1)],
            vec![vouched(1, 2), vouched(3, 4)],
            vec![vouched(1, 2), vouched(2, 1)],
            vec![vouched(1, 2), retired(1), vouched(1, 3)],
        ] {
            assert_eq!(take(&bad).unwrap_err().rule, Rule::LogKeys);
        }
        let mut keys = LogKeys::default();
        assert!(keys.take(ORIGINS[1], &vouched(1, 2), &ORIGINS).is_err(), "the subject is another log");
    }
}
