//! Agreements for the tests of this module.

use super::AgreementTerms;
use crate::domain::{Category, Region};
use crate::token::fixtures::NOW;

/// In force, for `apps/xingyu-live`, on the stores `sdk` and `logs`.
pub fn agreement() -> AgreementTerms {
    AgreementTerms {
        controller: "xingyu".parse().unwrap(),
        apps: ["xingyu-live".parse().unwrap()].into(),
        categories: [Category::Device, Category::Network, Category::SdkInteraction].into(),
        stores: ["sdk".parse().unwrap(), "logs".parse().unwrap()].into(),
        regions: [Region::Cn].into(),
        sub_processors: Default::default(),
        sinks: Default::default(),
        valid_from: NOW - 1000,
        valid_until: None,
    }
}
