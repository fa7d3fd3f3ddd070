//! The shape of a Fides dataset file (fideslang), read unchanged.
//!
//! Only what the agent needs is named; every other field is tolerated, so that
//! an enterprise's existing file works as it is. What the file cannot say (the
//! tenant, above all) stands in the [`overlay`](super::overlay).

use serde::Deserialize;

use crate::domain::{Reason, Refusal};

/// A whole file: `dataset: [...]`.
#[derive(Deserialize)]
pub struct Manifest {
    pub dataset: Vec<Dataset>,
}

#[derive(Deserialize)]
pub struct Dataset {
    pub fides_key: String,
    #[serde(default)]
    pub collections: Vec<Collection>,
}

#[derive(Deserialize)]
pub struct Collection {
    pub name: String,
    #[serde(default)]
    pub fields: Vec<Field>,
}

#[derive(Deserialize)]
pub struct Field {
    pub name: String,
    #[serde(default)]
    pub data_categories: Option<Vec<String>>,
    /// `fidesops_meta` is the older name of the same thing.
    #[serde(default, alias = "fidesops_meta")]
    pub fides_meta: Option<Meta>,
    /// Nested fields of an object; in a relational store there are none.
    #[serde(default)]
    pub fields: Option<Vec<Field>>,
}

#[derive(Deserialize, Default)]
pub struct Meta {
    #[serde(default)]
    pub primary_key: Option<bool>,
    /// Which identity the column holds: `email`, `user_id`, …
    #[serde(default)]
    pub identity: Option<String>,
    #[serde(default)]
    pub references: Option<Vec<Reference>>,
}

/// `dataset` and `field` (`collection.column`) name the other end.
#[derive(Deserialize)]
pub struct Reference {
    pub dataset: String,
    pub field: String,
    #[serde(default)]
    pub direction: Option<Direction>,
}

/// Which way values flow. `from`: the other end's values find rows here.
/// `to`: this column's values find rows there.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    From,
    To,
}

/// Reads a manifest. The parser's own message may quote the file; it is not passed on.
pub fn parse(yaml: &str) -> Result<Manifest, Refusal> {
    serde_saphyr::from_str(yaml).map_err(|error| {
        let note = match error.location() {
            Some(at) => format!("the dataset file is no Fides dataset; see line {}", at.line()),
            None => "the dataset file is no Fides dataset".to_owned(),
        };
        Refusal::at(Reason::MapInvalid, "dataset").note(note)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_fields_we_do_not_know_is_read() {
        let yaml = "\
dataset:
  - fides_key: rtc
    organization_fides_key: default
    name: RTC
    data_qualifier: aggregated
    meta: {owner: {team: media}}
    collections:
      - name: users
        fides_meta: {after: [rtc.devices]}
        fields:
          - name: id
            data_categories: [user.unique_id]
            fides_meta: {primary_key: true, data_type: integer, length: 12}
          - name: org
            fidesops_meta:
              references:
                - {dataset: rtc, field: orgs.id, direction: to}
";
        let manifest = parse(yaml).unwrap();
        let fields = &manifest.dataset[0].collections[0].fields;
        assert_eq!(fields[0].fides_meta.as_ref().unwrap().primary_key, Some(true));
        let reference = &fields[1].fides_meta.as_ref().unwrap().references.as_ref().unwrap()[0];
        assert_eq!(reference.direction, Some(Direction::To));
    }

    #[test]
    fn a_file_that_is_no_dataset_is_refused_without_quoting_it() {
        let refusal = parse("dataset: secret-value").err().unwrap();
        assert_eq!(refusal.reason, Reason::MapInvalid);
        assert!(!refusal.to_string().contains("secret-value"));
    }
}
